{% test k_core_holds(model, user_column, item_column) %}
{{ config(meta={'description':
    "Fails for each user and item with fewer rows than the variable k_core. With k_core 0 there is nothing "
    ~ "to hold, and it passes."
}) }}

{%- for column in [user_column, item_column] %}
select
    '{{ column }}' as side,
    {{ column }} as node,
    count(*) as interactions
from {{ model }}
group by {{ column }}
having count(*) < {{ whole_number('k_core') }}
{{ "union all" if not loop.last }}
{%- endfor %}

{% endtest %}
