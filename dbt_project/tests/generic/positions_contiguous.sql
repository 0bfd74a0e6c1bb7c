{% test positions_contiguous(model, group_column, position_column) %}
{{ config(meta={'description': "Fails for each group whose positions are not 0, 1, 2, ... without a gap or a repeat."}) }}

select
    {{ group_column }},
    min({{ position_column }}) as first_position,
    max({{ position_column }}) as last_position,
    count(*) as rows_found
from {{ model }}
group by {{ group_column }}
having min({{ position_column }}) <> 0
    or max({{ position_column }}) <> count(*) - 1
    or count(distinct {{ position_column }}) <> count(*)

{% endtest %}
