{%- set k = whole_number('k_core') -%}

{%- if k == 0 -%}

select * from {{ ref('int_interactions_deduplicated') }}

{%- else -%}

-- The k-core of the graph of users and items, where every interaction is an edge (a pair that meets on two
-- days has two): nodes with fewer than k edges are removed, then those that fell below k by that, and so on
-- until none falls. Each round looks only at the edges of the nodes removed in the round before.
with recursive interactions as (
    select * from {{ ref('int_interactions_deduplicated') }}
),

user_nodes as (
    select
        user_id,
        row_number() over () as node
    from (select user_id from interactions group by user_id having count(*) >= {{ k }})
),

item_nodes as (
    select
        item_id,
        -row_number() over () as node
    from (select item_id from interactions group by item_id having count(*) >= {{ k }})
),

edges as materialized (
    select
        user_nodes.node as user_node,
        item_nodes.node as item_node
    from interactions
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
        count(*) < {{ k }} as is_removed
    from incidences
    group by node

    union

    -- peeled: nodes changed in the last round; recurring.peeled: the state of all nodes
    select
        remaining.node,
        remaining.degree - losses.edges_lost as degree,
        remaining.degree - losses.edges_lost < {{ k }} as is_removed
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

select interactions.*
from interactions
semi join core_users using (user_id)
semi join core_items using (item_id)

{%- endif %}
