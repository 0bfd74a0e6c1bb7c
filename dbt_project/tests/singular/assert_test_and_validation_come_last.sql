-- of n interactions: position n - 1 is test (n >= 2), n - 2 validation or train, all before train
with placed as (
    select
        *,
        count(*) over (partition by user_id) - position as from_the_end,
        count(*) over (partition by user_id) as interactions
    from {{ ref('splits') }}
)

select *
from placed
where (split = 'test') <> (from_the_end = 1 and interactions >= 2)
    or (split = 'validation' and (from_the_end <> 2 or interactions < 3))
