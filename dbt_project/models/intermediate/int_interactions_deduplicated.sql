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
        min({{ place_of_line() }}) as first_place,
        count(*) - 1 as duplicate_rows
    from reviews
    group by user_id, item_id, timestamp, millisecond, rating, given_position, given_split
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
    interactions.duplicate_rows
from interactions
-- a row of a file that no list names would be left without one, which the test of the primary key finds
left join files on {{ file_position_of('interactions.first_place') }} = files.file_position
