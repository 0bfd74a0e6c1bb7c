select *
from {{ ref('int_split_boundaries') }}
where validation_from > test_from
