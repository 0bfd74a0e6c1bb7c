select count(*) as interactions
from {{ ref('splits') }}
having count(*) filter (split = 'train') = 0
