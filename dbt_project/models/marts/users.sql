with interactions as (
    select * from {{ ref('interactions') }}
),

splits as (
    select * from {{ ref('splits') }}
),

moments as (
    select
        user_id,
        timestamp,
        millisecond,
        count(*) as interactions,
        count(*) filter (where timestamp is not null and given_position = 0) as without_given_order
    from interactions
    group by user_id, timestamp, millisecond
),

histories as (
    select
        user_id,
        sum(interactions)::bigint as interactions,
        min(timestamp) as first_timestamp,
        max(timestamp) as last_timestamp,
        coalesce(sum(without_given_order) filter (where without_given_order > 1), 0)::bigint as tied_interactions
    from moments
    group by user_id
),

uses as (
    select
        user_id,
        bool_or(split = 'test') as has_test,
        bool_or(split = 'validation') as has_validation,
        bool_or(split = 'train') as has_training
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
        when uses.has_validation and uses.has_test then 'validation and test'
        when uses.has_test then 'test'
        when uses.has_validation then 'validation'
        when uses.has_training then 'training only'
        else 'not used'
    end as role
from histories
inner join uses on histories.user_id = uses.user_id
order by histories.user_id
