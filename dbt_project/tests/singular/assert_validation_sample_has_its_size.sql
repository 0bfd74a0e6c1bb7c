{%- set asked = whole_number('validation_users') -%}

-- without a row under another split than cold-items
with cold_items as (
    select * from {{ ref('int_cold_items') }}
),

splits as (
    select
        splits.*,
        cold_items.cold_for,
        count(*) filter (where cold_items.cold_for is null) over (
            partition by splits.user_id
            order by splits.position
            rows between unbounded preceding and 1 preceding
        ) > 0 as follows_others,
        max(splits.position) filter (where splits.split = 'test') over (partition by splits.user_id) as tested_at
    from {{ ref('splits') }} as splits
    left join cold_items on splits.item_id = cold_items.item_id
),

histories as (
    select
        splits.user_id,
        {% if held_out_at_the_end() > 0 -%}
        count(*) >= {{ held_out_at_the_end() + 2 }} as is_eligible,
        {%- elif split_rule() == 'cold-items' -%}
        bool_or(cold_for = 'validation' and follows_others and coalesce(position < tested_at, true)) as is_eligible,
        {%- else -%}
        count(*) filter (where split = 'train') > 0 and count(*) filter (where split in ('validation', 'history')) > 0
            as is_eligible,
        {%- endif %}
        count(*) filter (where split = 'validation') as held_out
    from splits
    -- histories that another's split divides are as they are
    anti join (select user_id from {{ ref('interactions') }} where given_split is not null) as given
        using (user_id)
    group by splits.user_id
),

sample as (
    select
        count(*) filter (where is_eligible) as eligible_users,
        coalesce(sum(held_out), 0) as validation_interactions
    from histories
)

select *
from sample
where validation_interactions <> {{ "eligible_users" if asked == 0 else "least(eligible_users, " ~ asked ~ ")" }}
