{%- set users_need = k_core_of('users') -%}
{%- set items_need = k_core_of('items') -%}

{%- if users_need == 0 and items_need == 0 -%}

select * from {{ ref('int_interactions_selected') }}

{%- elif k_core_is_too_large_for_memory(ref('int_interactions_selected')) -%}

{%- do peel_k_core_on_disk(ref('int_interactions_selected'), users_need, items_need) -%}

with interactions as (
    select * from {{ ref('int_interactions_selected') }}
)

-- core_users and core_items are temporary tables, made just before
select interactions.*
from interactions
semi join core_users using (user_id)
semi join core_items using (item_id)
where interactions.given_split is null
union all
select * from interactions
where given_split is not null

{%- else -%}

-- The k-core of the graph of users and items, where every interaction is an edge (a pair that meets on two
-- days has two): nodes with too few edges are removed, then those that have too few by that, and so on until none
-- falls. Each round looks only at the edges of the nodes removed in the round before.
-- sqlfluff cannot parse `using key`
with recursive interactions as ( -- noqa: PRS
    select * from {{ ref('int_interactions_selected') }}
),

-- those whose split was made elsewhere are neither counted nor removed
own_interactions as (
    select * from interactions
    where given_split is null
),

user_nodes as (
    select
        user_id,
        row_number() over () as node
    from (select user_id from own_interactions group by user_id having count(*) >= {{ users_need }})
),

item_nodes as (
    select
        item_id,
        -row_number() over () as node
    from (select item_id from own_interactions group by item_id having count(*) >= {{ items_need }})
),

edges as materialized (
    select
        user_nodes.node as user_node,
        item_nodes.node as item_node
    from own_interactions
    inner join user_nodes using (user_id)
    inner join item_nodes using (item_id)
),

incidences as materialized (
    select user_node as node, item_node as neighbour from edges
    union all
    select item_node as node, user_node as neighbour from edges
),

peeled (node, degree, is_removed) using key (node) as (
    select
        node,
        count(*)::bigint as degree,
        count(*) < if(node > 0, {{ users_need }}, {{ items_need }}) as is_removed
    from incidences
    group by node

    union

    -- peeled: nodes changed in the last round; recurring.peeled: the state of all nodes
    select
        remaining.node,
        remaining.degree - losses.edges_lost as degree,
        remaining.degree - losses.edges_lost < if(remaining.node > 0, {{ users_need }}, {{ items_need }})
            as is_removed
    from (
        select
            incidences.neighbour as node,
            count(*)::bigint as edges_lost
        from peeled as changed
        inner join incidences on changed.node = incidences.node
        where changed.is_removed
        group by incidences.neighbour
    ) as losses
    inner join recurring.peeled as remaining on losses.node = remaining.node
    where not remaining.is_removed
),

core_users as (
    select user_nodes.user_id
    from user_nodes
    inner join peeled using (node)
    where not peeled.is_removed
),

core_items as (
    select item_nodes.item_id
    from item_nodes
    inner join peeled using (node)
    where not peeled.is_removed
)

select own_interactions.*
from own_interactions
semi join core_users using (user_id)
semi join core_items using (item_id)
union all
select * from interactions
where given_split is not null

{%- endif %}
