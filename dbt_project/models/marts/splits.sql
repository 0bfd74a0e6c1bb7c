{%- set validation_users = whole_number('validation_users') -%}

with interactions as (
    select * from {{ ref('interactions') }}
),

histories as (
    select
        user_id,
        count(*) as interactions
    from interactions
    group by user_id
),

validation_users as (
    select user_id
    from histories
    where interactions >= 3
    {%- if validation_users > 0 %}
    order by md5(concat_ws('|', {{ whole_number('seed') }}, user_id)), user_id
    limit {{ validation_users }}
    {%- endif %}
)

select
    interactions.user_id,
    interactions.position,
    interactions.item_id,
    interactions.timestamp,
    case
        when histories.interactions >= 2 and interactions.position = histories.interactions - 1 then 'test'
        when validation_users.user_id is not null and interactions.position = histories.interactions - 2
            then 'validation'
        else 'train'
    end as split
from interactions
inner join histories on interactions.user_id = histories.user_id
left join validation_users on interactions.user_id = validation_users.user_id
order by interactions.user_id, interactions.position
