with core_interactions as (
    select * from {{ ref('int_interactions_core') }}
)

select
    user_id,
    item_id,
    timestamp,
    rating,
    verified,
    (row_number() over (partition by user_id order by timestamp, {{ tie_key() }}) - 1)::integer as position,
    source_file,
    line_number
from core_interactions
order by user_id, position
