{{ config(materialized=view_or_table()) }}

with rejected_reviews as (
    select * from {{ landed(source('landing_reviews', 'rejects')) }}
),

rejected_metadata as (
    select * from {{ landed(source('landing_metadata', 'rejects')) }}
),

rejected as (
    select 'reviews' as source, * from rejected_reviews
    {{ union_all_of_same_columns() }}
    select 'metadata' as source, * from rejected_metadata
)

select
    source,
    source_file,
    line_number,
    byte_offset,
    reason,
    detail,
    -- bytes that are no UTF-8 are shown as \xNN
    {{ text_of_bytes('line') }} as line
from rejected
