select *
from {{ ref('reconciliation') }}
where unexplained <> 0
