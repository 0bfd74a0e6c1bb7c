{{ config(materialized='view') }}

with interactions as (
    select * from {{ ref('int_interactions_selected') }}
),

core_nodes as (
    select * from {{ ref('int_core_nodes') }}
)

select interactions.*
from interactions
semi join (select node_id from core_nodes where side = 'user') as core_users on interactions.user_id = core_users.node_id
semi join (select node_id from core_nodes where side = 'item') as core_items on interactions.item_id = core_items.node_id
where interactions.given_split is null
union all
-- those whose split was made elsewhere are not removed
select * from interactions
where given_split is not null
