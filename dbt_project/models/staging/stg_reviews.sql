{{ config(materialized=view_or_table()) }}

with landed as (
    select * from {{ landed(source('landing_reviews', 'rows')) }}
),

files as (
    select
        source_file,
        file_position,
        sum(rows_read) over (order by file_position rows between unbounded preceding and 1 preceding) as rows_before
    from {{ landed(source('landing_reviews', 'files')) }}
),

-- by file, its place in the order in which the source names its files, and how many rows are in those before it;
-- looked up rather than joined, which would leave the rows in another order
places as (
    select
        {{ lookup('source_file', 'file_position') }} as of_file,
        {{ lookup('source_file', 'coalesce(rows_before, 0)::bigint') }} as rows_before
    from files
)

select
    landed.user_id,
    landed.item_id,
    landed.rating,
    landed.timestamp,
    coalesce(landed.millisecond, 0)::smallint as millisecond,
    {{ day_of('landed.timestamp') }} as reviewed_on,
    landed.verified,
    -- counted from file to file, so that two files are never woven into each other
    if(
        landed.given_position > 0,
        landed.given_position + coalesce(places.rows_before[landed.source_file], 0),
        0
    )::bigint as given_position,
    landed.given_split,
    landed.source_file,
    places.of_file[landed.source_file] as file_position,
    landed.line_number,
    landed.line_digest
from landed
cross join places
