with keyed as (
    select
        user_id,
        position,
        {{ sortable(interaction_keys()) }} as order_key
    from {{ ref('interactions') }}
),

steps as (
    select
        user_id,
        position,
        order_key,
        lag(order_key) over (partition by user_id order by position) as previous_key
    from keyed
)

select *
from steps
where previous_key >= order_key
