{%- set validation_users = whole_number('validation_users') -%}
{%- set held_out = held_out_at_the_end() -%}

with interactions as (
    select * from {{ ref('interactions') }}
),

-- read by the global-temporal split alone, and named here for a lineage that no setting changes
split_boundaries as ( -- noqa: ST03
    select * from {{ ref('int_split_boundaries') }}
),

-- likewise of the split cold-items
cold_items as ( -- noqa: ST03
    select * from {{ ref('int_cold_items') }}
),

{% if held_out > 0 -%}
histories as (
    select
        user_id,
        count(*) as interactions
    from interactions
    group by user_id
    -- from a history that another's split divides, nothing more is held out
    having count(given_split) = 0
),

users_to_validate as (
    select user_id
    from histories
    where interactions >= {{ held_out + 2 }}
),

placed as (
    select
        interactions.*,
        case
            when
                histories.interactions >= {{ held_out + 1 }}
                and interactions.position >= histories.interactions - {{ held_out }}
                then 'test'
            when interactions.position = histories.interactions - {{ held_out + 1 }} then 'validation'
            else 'train'
        end as if_validated,
        case
            when
                histories.interactions >= {{ held_out + 1 }}
                and interactions.position >= histories.interactions - {{ held_out }}
                then 'test'
            else 'train'
        end as otherwise
    from interactions
    left join histories on interactions.user_id = histories.user_id
),
{%- elif split_rule() == 'cold-items' -%}
marked as (
    select
        interactions.*,
        cold_items.cold_for,
        -- a target needs something to be recommended by
        count(*) filter (where cold_items.cold_for is null) over (
            partition by interactions.user_id
            order by interactions.position
            rows between unbounded preceding and 1 preceding
        ) > 0 as follows_others
    from interactions
    left join cold_items on interactions.item_id = cold_items.item_id
),

histories as (
    select
        user_id,
        max(position) filter (where cold_for = 'test' and follows_others) as tested_at
    from marked
    group by user_id
    -- from a history that another's split divides, nothing more is held out
    having count(given_split) = 0
),

validated as (
    select
        marked.user_id,
        max(marked.position) as validated_at
    from marked
    inner join histories on marked.user_id = histories.user_id
    where
        marked.cold_for = 'validation'
        and marked.follows_others
        and (histories.tested_at is null or marked.position < histories.tested_at)
    group by marked.user_id
),

users_to_validate as (
    select user_id from validated
),

placed as (
    select
        marked.*,
        case
            when marked.position = histories.tested_at then 'test'
            when marked.position > histories.tested_at then 'unused'
            when marked.position = validated.validated_at then 'validation'
            when marked.cold_for is not null then 'unused'
            when marked.position < validated.validated_at then 'train'
            -- between both targets it is known and not trained on, since a history is trained on from its beginning
            when histories.tested_at is not null then 'history'
            else 'unused'
        end as if_validated,
        case
            when marked.position = histories.tested_at then 'test'
            when marked.position > histories.tested_at then 'unused'
            when marked.cold_for is not null then 'unused'
            else 'train'
        end as otherwise
    from marked
    left join histories on marked.user_id = histories.user_id
    left join validated on marked.user_id = validated.user_id
),
{%- else -%}
windows as (
    select
        interactions.*,
        case
            when interactions.timestamp < split_boundaries.validation_from then 'training'
            when interactions.timestamp < split_boundaries.test_from then 'validation'
            else 'test'
        end as time_window
    from interactions
    cross join split_boundaries
),

histories as (
    select
        user_id,
        min(position) filter (where time_window = 'validation') as first_in_validation,
        min(position) filter (where time_window = 'test') as first_in_test,
        bool_or(time_window = 'training') as has_training
    from windows
    group by user_id
    -- from a history that another's split divides, nothing more is held out
    having count(given_split) = 0
),

users_to_validate as (
    select user_id
    from histories
    where has_training and first_in_validation is not null
),

placed as (
    select
        windows.*,
        case
            when windows.time_window = 'training' then 'train'
            when windows.position = histories.first_in_validation then 'validation'
            when windows.time_window = 'validation' then 'history'
            when windows.position = histories.first_in_test and windows.position > 0 then 'test'
            else 'unused'
        end as if_validated,
        case
            when windows.time_window = 'training' then 'train'
            when windows.time_window = 'validation' then 'history'
            when windows.position = histories.first_in_test and windows.position > 0 then 'test'
            else 'unused'
        end as otherwise
    from windows
    left join histories on windows.user_id = histories.user_id
),
{%- endif %}

validation_users as (
    select user_id
    from users_to_validate
    {%- if validation_users > 0 %}
    order by md5(concat_ws('|', {{ whole_number('seed') }}, user_id)), user_id
    limit {{ validation_users }}
    {%- endif %}
)

select
    placed.user_id,
    placed.position,
    placed.item_id,
    placed.timestamp,
    case
        when placed.given_split is not null then placed.given_split
        when validation_users.user_id is not null then placed.if_validated
        else placed.otherwise
    end as split
from placed
left join validation_users on placed.user_id = validation_users.user_id
order by placed.user_id, placed.position
