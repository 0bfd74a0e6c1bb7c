{#-
    The k-core is the largest set of users and items in which each has enough interactions, and the union of two such sets
    is one too. So any such set is part of the k-core. If rows were only added, the last k-core is still such a set, and only
    users and items outside of it need to be peeled.
-#}
{% macro k_core_grows_from_the_last(interactions, users_need, items_need) -%}
    {%- if not execute or flags.WHICH not in ['run', 'build'] or flags.FULL_REFRESH -%}
        {{- return(false) -}}
    {%- endif -%}
    {%- set last = load_relation(this) -%}
    {%- if last is none or not last.is_table -%}
        {{- return(false) -}}
    {%- endif -%}
    {%- set sides = [('user', users_need), ('item', items_need)] -%}
    {%- for side, _ in sides -%}
        {%- do run_query(
            "create or replace temporary table last_" ~ side ~ "s as"
            ~ " select node_id as " ~ side ~ "_id, (row_number() over ())::integer as last_" ~ side
            ~ " from " ~ last ~ " where side = '" ~ side ~ "'"
        ) -%}
    {%- endfor -%}
    {#- numbers for those of the last k-core, which are counted sooner than their names, and null for all others -#}
    {%- do run_query(
        "create or replace temporary table edges as"
        ~ " select user_id, item_id, last_user, last_item"
        ~ " from " ~ interactions ~ " as interactions"
        ~ " left join last_users using (user_id) left join last_items using (item_id)"
        ~ " where given_split is null"
    ) -%}

    {%- set state = namespace(grows=true, peels=true) -%}
    {%- for side, need in sides -%}
        {%- set held = run_query(
            "select count(*) = (select count(*) from last_" ~ side ~ "s) and count(*) > 0 from"
            ~ " (select last_" ~ side ~ " from edges where last_user is not null and last_item is not null"
            ~ " group by last_" ~ side ~ " having count(*) >= " ~ need ~ ")"
        ) -%}
        {%- set state.grows = state.grows and held.columns[0].values()[0] -%}
    {%- endfor -%}

    {%- if state.grows -%}
        {#- most users and items outside have too few edges even before peeling -#}
        {%- for side, need in sides -%}
            {%- do run_query(
                "create or replace temporary table " ~ side ~ "s_in_question as"
                ~ " select " ~ side ~ "_id from edges where last_" ~ side ~ " is null"
                ~ " group by " ~ side ~ "_id having count(*) >= " ~ need
            ) -%}
        {%- endfor -%}
        {%- do run_query(
            "create or replace temporary table edges as select * from edges"
            ~ " where (last_user is null or last_item is null)"
            ~ " and (last_user is not null or user_id in (select user_id from users_in_question))"
            ~ " and (last_item is not null or item_id in (select item_id from items_in_question))"
        ) -%}
        {#- as in `peel_k_core_on_disk`, on fewer edges -#}
        {%- for _ in range(100000) -%}
            {%- set sides_to_peel = sides if state.peels else [] -%}
            {%- set state.peels = false -%}
            {%- for side, need in sides_to_peel -%}
                {%- do run_query(
                    "create or replace temporary table fallen_nodes as select " ~ side ~ "_id from edges"
                    ~ " where last_" ~ side ~ " is null group by " ~ side ~ "_id having count(*) < " ~ need
                ) -%}
                {%- if run_query("select count(*) from fallen_nodes").columns[0].values()[0] > 0 -%}
                    {%- set state.peels = true -%}
                    {%- do run_query(
                        "create or replace temporary table edges as"
                        ~ " select edges.* from edges anti join fallen_nodes using (" ~ side ~ "_id)"
                    ) -%}
                {%- endif -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- for side, _ in sides -%}
            {%- do run_query(
                "create or replace temporary table core_" ~ side ~ "s as"
                ~ " select " ~ side ~ "_id from last_" ~ side ~ "s union select " ~ side ~ "_id from edges"
            ) -%}
            {%- do run_query("drop table " ~ side ~ "s_in_question") -%}
        {%- endfor -%}
        {%- do run_query("drop table fallen_nodes") -%}
    {%- endif -%}

    {%- for table in ['edges', 'last_users', 'last_items'] -%}
        {%- do run_query("drop table " ~ table) -%}
    {%- endfor -%}
    {#- if so many rounds were not enough, the whole k-core is computed instead -#}
    {{- return(state.grows and not state.peels) -}}
{%- endmacro %}


{% macro k_core_is_found_in_tables(interactions, users_need, items_need) -%}
    {%- if k_core_grows_from_the_last(interactions, users_need, items_need) -%}
        {{- return(true) -}}
    {%- elif k_core_is_too_large_for_memory(interactions) -%}
        {%- do peel_k_core_on_disk(interactions, users_need, items_need) -%}
        {{- return(true) -}}
    {%- endif -%}
    {{- return(false) -}}
{%- endmacro %}
