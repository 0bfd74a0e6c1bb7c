{%- set asked = whole_number('validation_users') -%}

with histories as (
    select
        splits.user_id,
        {% if split_rule() == 'leave-one-out' -%}
        count(*) >= 3 as is_eligible,
        {%- else -%}
        count(*) filter (split = 'train') > 0 and count(*) filter (split in ('validation', 'history')) > 0
            as is_eligible,
        {%- endif %}
        count(*) filter (split = 'validation') as held_out
    from {{ ref('splits') }} as splits
    -- histories that another's split divides are as they are
    anti join (select user_id from {{ ref('interactions') }} where given_split is not null) as given
        using (user_id)
    group by splits.user_id
),

sample as (
    select
        count(*) filter (is_eligible) as eligible_users,
        coalesce(sum(held_out), 0) as validation_interactions
    from histories
)

select *
from sample
where validation_interactions <> {{ "eligible_users" if asked == 0 else "least(eligible_users, " ~ asked ~ ")" }}
