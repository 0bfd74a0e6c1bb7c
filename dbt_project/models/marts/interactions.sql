with core_interactions as (
    select * from {{ ref('int_interactions_core') }}
)

select
    user_id,
    item_id,
    timestamp,
    millisecond,
    rating,
    verified,
    (row_number() over (partition by user_id order by {{ interaction_order() }}) - 1)::integer as position,
    given_position,
    given_split,
    source_file,
    file_position,
    line_number,
    duplicate_rows
from core_interactions
order by user_id, position
