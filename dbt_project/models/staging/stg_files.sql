{{ config(materialized=view_or_table()) }}

with files_of_reviews as (
    select * from {{ landed(source('landing_reviews', 'files')) }}
),

files_of_metadata as (
    select * from {{ landed(source('landing_metadata', 'files')) }}
),

files as (
    select 'reviews' as source, * from files_of_reviews
    {{ union_all_of_same_columns() }}
    select 'metadata' as source, * from files_of_metadata
)

select
    source,
    source_file,
    file_position,
    bytes,
    sha256,
    content,
    layout,
    lines_read,
    rows_read,
    rows_kept,
    rows_rejected,
    rows_repeated,
    problem,
    ordered_by,
    columns_used,
    unused_columns,
    separator,
    time_unit,
    reading_warnings
from files
