{% test never_null(model, columns) %}
{{ config(meta={'description': "Fails for each row in which one of the columns is null."}) }}

select *
from {{ model }}
where
{%- for column in columns %}
    {{ "or " if not loop.first }}{{ column }} is null
{%- endfor %}

{% endtest %}
