{% test never_negative(model, columns) %}
{{ config(meta={'description': "Fails for each row in which one of the columns is below 0; nulls pass."}) }}

select *
from {{ model }}
where
{%- for column in columns %}
    {{ "or " if not loop.first }}{{ column }} < 0
{%- endfor %}

{% endtest %}
