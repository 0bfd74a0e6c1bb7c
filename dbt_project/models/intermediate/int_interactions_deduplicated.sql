-- depends_on: {{ ref('stg_review_files') }}
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
    user_id,
    item_id,
    timestamp,
    millisecond,
    rating,
    given_position,
    given_split,
    verified,
    first_place.source_file as source_file,
    first_place.file_position as file_position,
    first_place.line_number as line_number,
    duplicate_rows,
    byte_identical_rows
from interactions
