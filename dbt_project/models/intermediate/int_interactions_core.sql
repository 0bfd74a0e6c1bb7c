{{ config(materialized=view_or_table()) }}

with interactions as (
    select * from {{ ref('int_interactions_selected') }}
),

core_users as (
    select node_id as user_id from {{ ref('int_core_nodes') }}
    where side = 'user'
),

core_items as (
    select node_id as item_id from {{ ref('int_core_nodes') }}
    where side = 'item'
)

select interactions.*
from interactions
-- not `using`, which moves the columns to the front on Spark, while `union all` goes by their places
semi join core_users on interactions.user_id = core_users.user_id
semi join core_items on interactions.item_id = core_items.item_id
where interactions.given_split is null
union all
-- interactions whose split was made elsewhere are never removed
select * from interactions
where given_split is not null
