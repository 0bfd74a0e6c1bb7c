{{ config(materialized=view_or_table()) }}

with files as (
    select * from {{ landed(source('landing_reviews', 'files')) }}
)

select
    source_file,
    file_position,
    content,
    rows_read
from files
