with rejected_reviews as (
    select * from {{ source('landing_reviews', 'rejects') }}
),

rejected_metadata as (
    select * from {{ source('landing_metadata', 'rejects') }}
),

rejected as (
    select 'reviews' as source, * from rejected_reviews
    union all by name
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
    coalesce(try(decode(line)), line::varchar) as line
from rejected
