{% macro core_nodes(interactions, users_need, items_need) -%}
    {{ adapter.dispatch('core_nodes')(interactions, users_need, items_need) }}
{%- endmacro %}


{% macro default__core_nodes(interactions, users_need, items_need) -%}
{%- if users_need == 0 and items_need == 0 -%}

with own_interactions as (
    select user_id, item_id from {{ interactions }}
    where given_split is null
)

select 'user' as side, user_id as node_id
from own_interactions
group by user_id
union all
select 'item' as side, item_id as node_id
from own_interactions
group by item_id

{%- elif k_core_is_found_in_tables(interactions, users_need, items_need) -%}

-- temporary tables, created by the macro above
select 'user' as side, user_id as node_id from core_users
union all
select 'item' as side, item_id as node_id from core_items

{%- else -%}

-- The k-core of the graph of users and items, where every interaction is an edge (a pair that meets on two
-- days has two): nodes with too few edges are removed, then those that have too few by that, and so on until none
-- falls. Each round looks only at the edges of the nodes removed in the round before.
with recursive own_interactions as (
    -- interactions whose split was made elsewhere are not counted
    select user_id, item_id from {{ interactions }}
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
)

select 'user' as side, user_nodes.user_id as node_id
from user_nodes
inner join peeled using (node)
where not peeled.is_removed and peeled.degree > 0
union all
select 'item' as side, item_nodes.item_id as node_id
from item_nodes
inner join peeled using (node)
where not peeled.is_removed and peeled.degree > 0

{%- endif %}
{%- endmacro %}


{#-
    Each round is one table, written out and read again, so that no round computes those before it once more. Both sides
    are peeled at once: that takes more rounds than one side after the other, but each of them is one job. Whatever the
    order, what is left when nothing falls is the same.
-#}
{% macro spark__core_nodes(interactions, users_need, items_need) -%}
    {%- set edges, edges_left = core_edges(), core_edges('_left') -%}
    {%- set sides = [] -%}
    {%- for side, need in [('user', users_need), ('item', items_need)] if need > 1 -%}
        {%- do sides.append((side ~ '_id', need)) -%}
    {%- endfor -%}
    {%- if execute and flags.WHICH in ['run', 'build'] -%}
        {%- do forget_core_edges() -%}
        {%- do run_query(
            "create table " ~ edges ~ " using parquet as select user_id, item_id from " ~ interactions
            ~ " where given_split is null"
        ) -%}
        {%- set peeling = namespace(rows=run_query("select count(*) from " ~ edges).columns[0].values()[0], goes_on=true) -%}
        {#- the language has no loop that ends by a condition, and none of more than 100000 rounds -#}
        {%- for _ in range(100000) -%}
            {%- if peeling.goes_on and sides -%}
                {%- set joins = [] -%}
                {%- for column, need in sides -%}
                    {%- do joins.append(
                        " semi join (select " ~ column ~ " from " ~ edges ~ " group by " ~ column
                        ~ " having count(*) >= " ~ need ~ ") as " ~ column ~ "s using (" ~ column ~ ")"
                    ) -%}
                {%- endfor -%}
                {%- do run_query(
                    "create table " ~ edges_left ~ " using parquet as select user_id, item_id from " ~ edges ~ joins | join
                ) -%}
                {%- do run_query("drop table " ~ edges) -%}
                {%- do run_query("alter table " ~ edges_left ~ " rename to " ~ edges) -%}
                {%- set rows = run_query("select count(*) from " ~ edges).columns[0].values()[0] -%}
                {%- set peeling.goes_on = rows < peeling.rows -%}
                {%- set peeling.rows = rows -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    select 'user' as side, user_id as node_id
    from {{ edges }}
    group by user_id
    union all
    select 'item' as side, item_id as node_id
    from {{ edges }}
    group by item_id
{%- endmacro %}


{% macro core_edges(suffix='') -%}
    {{- return(this.schema ~ '.' ~ this.identifier ~ '__edges' ~ suffix) -}}
{%- endmacro %}


{% macro forget_core_edges() -%}
    {{- return(adapter.dispatch('forget_core_edges')()) -}}
{%- endmacro %}


{% macro default__forget_core_edges() -%}
    {{- return('') -}}
{%- endmacro %}


{% macro spark__forget_core_edges() -%}
    {%- if execute -%}
        {%- for suffix in ['', '_left'] -%}
            {%- do run_query("drop table if exists " ~ core_edges(suffix)) -%}
        {%- endfor -%}
    {%- endif -%}
    {{- return('') -}}
{%- endmacro %}
