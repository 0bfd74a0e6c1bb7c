{{ config(
    materialized='by_file',
    by_file={
        'model': 'stg_reviews',
        'files': 'stg_review_files',
        'key': ['user_id', 'item_id'],
        'several': 'duplicate_rows > 0',
    },
) }}

with reviews as (
    select * from {{ ref('stg_reviews') }}
),

files as (
    select * from {{ ref('stg_review_files') }}
),

-- in two steps, since most lines are alone: counting distinct lines within each interaction takes half as long again
distinct_lines as (
    select
        user_id,
        item_id,
        timestamp,
        millisecond,
        rating,
        given_position,
        given_split,
        line_digest,
        bool_or(verified) as verified,
        min({{ place_of_line() }}) as first_place,
        count(*) as lines
    from reviews
    group by all
),

interactions as (
    select
        user_id,
        item_id,
        timestamp,
        millisecond,
        rating,
        given_position,
        given_split,
        bool_or(verified) as verified,
        min(first_place) as first_place,
        (sum(lines) - 1)::bigint as duplicate_rows,
        (sum(lines) - count(*))::bigint as byte_identical_rows
    from distinct_lines
    group by all
)

select
    interactions.user_id,
    interactions.item_id,
    interactions.timestamp,
    interactions.millisecond,
    interactions.rating,
    interactions.given_position,
    interactions.given_split,
    interactions.verified,
    files.source_file,
    {{ file_position_of('interactions.first_place') }} as file_position,
    {{ line_number_of('interactions.first_place') }} as line_number,
    interactions.duplicate_rows,
    interactions.byte_identical_rows
from interactions
-- a row of a file that no list names would be left without one, which the test of the primary key finds
left join files on {{ file_position_of('interactions.first_place') }} = files.file_position
