select *
from {{ ref('stg_files') }}
where lines_read <> rows_kept + rows_rejected
