{% test rows_between(model, least=none, most=none) %}
{{ config(meta={'description': "Fails where the table has fewer rows than `least` or more than `most`."}) }}

select count(*) as rows_found
from {{ model }}
having false
{%- if least is not none %}
    or count(*) < {{ least }}
{%- endif %}
{%- if most is not none %}
    or count(*) > {{ most }}
{%- endif %}

{% endtest %}
