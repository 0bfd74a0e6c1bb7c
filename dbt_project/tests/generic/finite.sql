{% test finite(model, column_name) %}
{{ config(meta={'description': "Fails for each value that is infinite or no number; nulls pass."}) }}

select *
from {{ model }}
where not {{ is_finite(column_name) }}

{% endtest %}
