select *
from {{ ref('stg_files') }}
where rows_read <> rows_kept + rows_rejected + rows_repeated
