{% test within_range(model, column_name, least=none, most=none) %}
{{ config(meta={'description':
    "Fails for each value outside the bounds, which belong to the range, and for values that are no "
    ~ "number."
}) }}

select *
from {{ model }}
where
    isnan({{ column_name }}::double)
{%- if least is not none %}
    or {{ column_name }} < {{ least }}
{%- endif %}
{%- if most is not none %}
    or {{ column_name }} > {{ most }}
{%- endif %}

{% endtest %}
