{% test finite(model, column_name) %}
{{ config(meta={'description': "Fails for each value that is infinite or no number; nulls pass."}) }}

select *
from {{ model }}
where not isfinite({{ column_name }}::double)

{% endtest %}
