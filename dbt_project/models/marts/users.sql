with interactions as (
    select * from {{ ref('interactions') }}
),

splits as (
    select * from {{ ref('splits') }}
),

days as (
    select
        user_id,
        timestamp,
        count(*) as interactions
    from interactions
    group by user_id, timestamp
),

histories as (
    select
        user_id,
        sum(interactions)::bigint as interactions,
        min(timestamp) as first_timestamp,
        max(timestamp) as last_timestamp,
        coalesce(sum(interactions) filter (where interactions > 1), 0)::bigint as tied_interactions
    from days
    group by user_id
),

held_out as (
    select
        user_id,
        bool_or(split = 'test') as has_test,
        bool_or(split = 'validation') as has_validation
    from splits
    group by user_id
)

select
    histories.user_id,
    histories.interactions,
    histories.first_timestamp,
    histories.last_timestamp,
    histories.tied_interactions,
    case
        when held_out.has_validation then 'validation and test'
        when held_out.has_test then 'test'
        else 'training only'
    end as role
from histories
inner join held_out on histories.user_id = held_out.user_id
order by histories.user_id
