{%- set asked = whole_number('validation_users') -%}

with histories as (
    select
        user_id,
        count(*) as interactions,
        count(*) filter (where split = 'validation') as held_out
    from {{ ref('splits') }}
    group by user_id
),

sample as (
    select
        count(*) filter (where interactions >= 3) as eligible_users,
        sum(held_out) as validation_interactions
    from histories
)

select *
from sample
where validation_interactions <> {{ "eligible_users" if asked == 0 else "least(eligible_users, " ~ asked ~ ")" }}
