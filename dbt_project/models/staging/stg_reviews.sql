with landed as (
    select * from {{ source('landing_reviews', 'rows') }}
),

files as (
    select
        source_file,
        sum(rows_read) over (order by file_position rows between unbounded preceding and 1 preceding) as rows_before
    from {{ source('landing_reviews', 'files') }}
),

-- by file, how many rows are in the files before it, in the order in which the source names its files
earlier_rows as (
    select map_from_entries(list((source_file, coalesce(rows_before, 0)::bigint))) as by_file
    from files
)

select
    landed.user_id,
    landed.item_id,
    landed.rating,
    landed.timestamp,
    coalesce(landed.millisecond, 0)::smallint as millisecond,
    make_timestamp(landed.timestamp * 1000000)::date as reviewed_on,
    landed.verified,
    -- counted from file to file, so that two files are never woven into each other
    if(
        landed.given_position > 0,
        landed.given_position + coalesce(earlier_rows.by_file[landed.source_file], 0),
        0
    )::bigint as given_position,
    landed.given_split,
    landed.source_file,
    landed.line_number,
    landed.line_digest
from landed
cross join earlier_rows
