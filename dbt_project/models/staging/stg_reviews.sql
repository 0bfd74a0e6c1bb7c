with landed as (
    select * from {{ source('landing_reviews', 'rows') }}
)

select
    reviewer_id as user_id,
    asin as item_id,
    overall as rating,
    unix_review_time as timestamp,
    make_timestamp(unix_review_time * 1000000)::date as reviewed_on,
    verified,
    source_file,
    line_number,
    line_digest
from landed
