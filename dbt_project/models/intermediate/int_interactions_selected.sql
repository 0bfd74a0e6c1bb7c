{{ config(materialized=view_or_table()) }}

with judged_interactions as (
    select * from {{ ref('int_interactions_judged') }}
)

select {{ all_but(['dropped_by']) }}
from judged_interactions
where dropped_by is null
