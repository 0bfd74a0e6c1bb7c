{% test distinct_rows(model, columns) %}
{{ config(meta={'description': "Fails for each combination of values, nulls among them, that stands in more than one row."}) }}

select
    {{ columns | join(', ') }},
    count(*) as rows_found
from {{ model }}
group by all
having count(*) > 1

{% endtest %}
