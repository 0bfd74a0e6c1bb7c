{% test primary_key(model, columns) %}
{{ config(meta={'description': "Fails for each key that is null in part or stands in more than one row."}) }}

select
    {{ columns | join(', ') }},
    count(*) as rows_found
from {{ model }}
group by all
having count(*) > 1
{%- for column in columns %}
    or {{ column }} is null
{%- endfor %}

{% endtest %}
