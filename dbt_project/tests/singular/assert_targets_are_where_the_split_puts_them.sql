{%- set held_out = held_out_at_the_end() -%}

-- histories that another's split divides are as they are
with splits as (
    select
        *,
        count(*) over (partition by user_id) - position as from_the_end,
        count(*) over (partition by user_id) as interactions
    from {{ ref('splits') }}
    anti join (select user_id from {{ ref('interactions') }} where given_split is not null) as given
        using (user_id)
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
-- of n interactions: the last k are test (n > k), the one before is validation or train (n > k + 1), all before train
misplaced as (
    select *
    from splits
    where (split = 'test') <> (from_the_end <= {{ held_out }} and interactions > {{ held_out }})
        or (split = 'validation' and (from_the_end <> {{ held_out + 1 }} or interactions < {{ held_out + 2 }}))
        or split not in ('train', 'validation', 'test')
)
{%- elif split_rule() == 'cold-items' -%}
places as (
    select
        splits.*,
        cold_items.cold_for,
        max(splits.position) filter (where splits.split = 'train') over (partition by splits.user_id) as last_trained,
        max(splits.position) filter (where splits.split = 'validation') over (partition by splits.user_id)
            as validated_at,
        max(splits.position) filter (where splits.split = 'test') over (partition by splits.user_id) as tested_at
    from splits
    left join cold_items on splits.item_id = cold_items.item_id
),

-- targets are items that are held out, which are nowhere else, and come after what is trained on; history lies between
-- both targets, and other items are unused after a target alone
misplaced as (
    select *
    from places
    where (cold_for is not null and split in ('train', 'history'))
        or (split in ('validation', 'test') and coalesce(cold_for <> split, true))
        or (split in ('validation', 'test') and last_trained is null)
        or (split = 'train' and position > least(validated_at, tested_at))
        or (split = 'history' and not coalesce(position between validated_at and tested_at, false))
        or (cold_for is null and split = 'unused' and not coalesce(position > coalesce(tested_at, validated_at), false))
        -- of the items of the test that follow others the last is the target
        or (
            cold_for = 'test'
            and split = 'unused'
            and position > last_trained
            and coalesce(position > tested_at, tested_at is null)
        )
)
{%- else -%}
-- each window has labels of its own, and in its window a target is the first of its user
windows as (
    select
        splits.*,
        split_boundaries.validation_from,
        split_boundaries.test_from,
        lag(splits.timestamp) over (partition by splits.user_id order by splits.position) as previous_timestamp
    from splits
    cross join split_boundaries
),

misplaced as (
    select *
    from windows
    where (split = 'train') <> (timestamp < validation_from)
        or (split in ('validation', 'history')) <> (timestamp >= validation_from and timestamp < test_from)
        or (split = 'validation' and coalesce(previous_timestamp >= validation_from, true))
        or (split = 'test') <> coalesce(timestamp >= test_from and previous_timestamp < test_from, false)
)
{%- endif %}

select * from misplaced
