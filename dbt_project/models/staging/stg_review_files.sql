with files as (
    select * from {{ source('landing_reviews', 'files') }}
)

select
    source_file,
    file_position,
    content,
    rows_read
from files
