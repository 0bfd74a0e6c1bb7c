with statistics as (
    select * from {{ ref('statistics') }}
),

splits as (
    select
        count(*) as interactions,
        count(distinct user_id) as users,
        count(distinct item_id) as items,
        count(distinct user_id) filter (where split = 'test') as users_with_test,
        count(distinct user_id) filter (where split = 'validation') as users_with_validation,
        count(distinct user_id) filter (where split in ('test', 'validation')) as users_with_target
    from {{ ref('splits') }}
),

reconciled as (
    select coalesce(sum(kept), 0) as interactions
    from {{ ref('reconciliation') }}
    where source = 'reviews'
)

select *
from statistics
cross join splits
cross join reconciled
where statistics.interactions <> splits.interactions
    or statistics.interactions <> reconciled.interactions
    or statistics.users <> splits.users
    or statistics.items <> splits.items
    or statistics.users_with_test <> splits.users_with_test
    or statistics.users_with_validation <> splits.users_with_validation
    or statistics.users <> splits.users_with_target + statistics.users_too_short
