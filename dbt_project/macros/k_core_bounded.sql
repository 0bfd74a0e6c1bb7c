{#- The interactions can be counted only when the model is about to be built. -#}
{% macro k_core_is_too_large_for_memory(interactions) -%}
    {%- set rows_in_memory = whole_number('k_core_rows_in_memory') -%}
    {%- if not execute or flags.WHICH not in ['run', 'build'] -%}
        {{- return(false) -}}
    {%- endif -%}
    {%- set counted = run_query("select count(*) > " ~ rows_in_memory ~ " from " ~ interactions) -%}
    {{- return(counted.columns[0].values()[0]) -}}
{%- endmacro %}


{% macro peel_k_core_on_disk(interactions, users_need, items_need) -%}
    {%- set sides = [('user', users_need), ('item', items_need)] -%}
    {%- for side, need in sides -%}
        {%- do run_query(
            "create or replace temporary table " ~ side ~ "_nodes as"
            ~ " select " ~ side ~ "_id, (row_number() over ())::integer as node"
            ~ " from " ~ interactions ~ " where given_split is null"
            ~ " group by " ~ side ~ "_id having count(*) >= " ~ need
        ) -%}
    {%- endfor -%}
    {%- do run_query(
        "create or replace temporary table edges as"
        ~ " select user_nodes.node as user_node, item_nodes.node as item_node"
        ~ " from " ~ interactions ~ " as interactions"
        ~ " inner join user_nodes using (user_id) inner join item_nodes using (item_id)"
        ~ " where interactions.given_split is null"
    ) -%}

    {#- the language has no loop that ends by a condition, and none of more than 100000 rounds -#}
    {%- set peeling = namespace(goes_on=true) -%}
    {%- for _ in range(100000) -%}
        {%- set sides_to_peel = sides if peeling.goes_on else [] -%}
        {%- set peeling.goes_on = false -%}
        {%- for side, need in sides_to_peel -%}
            {%- do run_query(
                "create or replace temporary table fallen_nodes as"
                ~ " select " ~ side ~ "_node from edges group by " ~ side ~ "_node having count(*) < " ~ need
            ) -%}
            {%- if run_query("select count(*) from fallen_nodes").columns[0].values()[0] > 0 -%}
                {%- set peeling.goes_on = true -%}
                {%- do run_query(
                    "create or replace temporary table edges as"
                    ~ " select edges.* from edges anti join fallen_nodes using (" ~ side ~ "_node)"
                ) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if peeling.goes_on -%}
        {{ exceptions.raise_compiler_error(
            "the k-core is not found after 100000 rounds; raise the variable k_core_rows_in_memory"
        ) }}
    {%- endif -%}

    {%- for side, need in sides -%}
        {%- do run_query(
            "create or replace temporary table core_" ~ side ~ "s as"
            ~ " select " ~ side ~ "_id from " ~ side ~ "_nodes"
            ~ " semi join edges on " ~ side ~ "_nodes.node = edges." ~ side ~ "_node"
        ) -%}
        {%- do run_query("drop table " ~ side ~ "_nodes") -%}
    {%- endfor -%}
    {%- do run_query("drop table edges") -%}
    {%- do run_query("drop table fallen_nodes") -%}
{%- endmacro %}
