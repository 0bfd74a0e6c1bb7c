{{ config(materialized='view') }}

with judged_interactions as (
    select * from {{ ref('int_interactions_judged') }}
)

select * exclude (dropped_by)
from judged_interactions
where dropped_by is null
