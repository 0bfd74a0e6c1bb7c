{% test k_core_holds(model, user_column, item_column, own_rows) %}
{{ config(meta={'description':
    "Fails for each user and item with fewer rows, among those for which `own_rows` is true, than the variables "
    ~ "k_core, k_core_users and k_core_items say. With 0 there is nothing to hold, and it passes."
}) }}

{%- for side, column in [('users', user_column), ('items', item_column)] %}
select
    '{{ column }}' as side,
    {{ column }} as node,
    count(*) as interactions
from {{ model }}
where {{ own_rows }}
group by {{ column }}
having count(*) < {{ k_core_of(side) }}
{{ "union all" if not loop.last }}
{%- endfor %}

{% endtest %}
