{#-
    Not dbt's own `incremental`, because that does not notice when the SQL of a model, a macro or a variable changes,
    cannot remove the rows of a file that is gone, compares keys with `=`, which fails for null, and splits a model
    into two branches, of which unit tests see one. Here a model is a single query: it is run on all rows, or only on
    those that need to be computed again. What the table holds is recorded in the transaction that changes it.
-#}
{% materialization by_file, adapter='duckdb' %}
    {%- set by_file = config.require('by_file') -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set input = by_file_input(by_file) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {#- begins the transaction that contains everything below -#}
    {%- call statement('begin') -%}
        select 1
    {%- endcall -%}

    {%- set recipe = by_file_recipe(by_file, input) -%}
    {%- do run_query(by_file_files(by_file, input)) -%}
    {%- set change = by_file_change(existing, recipe) -%}

    {%- if change.is_whole -%}
        {%- if existing is not none -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {%- call statement('main') -%}
            {{ create_table_as(False, target, compiled_code) }}
        {%- endcall -%}
    {%- elif change.gone or change.come -%}
        {%- call statement('main') -%}
            {{ by_file_exchange(by_file, input, target, change) }}
        {%- endcall -%}
    {%- else -%}
        {%- call noop_statement('main', 'UNCHANGED') -%}
            select 1
        {%- endcall -%}
    {%- endif -%}
    {%- if change.moved and not change.is_whole -%}
        {%- call statement('positions') -%}
            update {{ target }} as held set file_position = files.file_position
            from files_to_hold as files
            where held.source_file = files.source_file and held.file_position <> files.file_position
        {%- endcall -%}
    {%- endif -%}
    {%- call statement('note') -%}
        create or replace table {{ by_file_note(this) }} as
        select '{{ recipe }}' as recipe, * from files_to_hold order by file_position
    {%- endcall -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do persist_docs(target, model) -%}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}


{% macro by_file_note(relation) -%}
    {{- return(api.Relation.create(
        database=relation.database, schema=relation.schema, identifier=relation.identifier ~ '__files', type='table'
    )) -}}
{%- endmacro %}


{% macro by_file_input(by_file) -%}
    {{- return(ref(by_file.model) if by_file.model is defined else source(by_file.source, 'rows')) -}}
{%- endmacro %}


{#- The 1 is a version of these macros: raise it when a change here changes rows. -#}
{% macro by_file_recipe(by_file, input) -%}
    {%- set parts = ['1', by_file | tojson, compiled_code] -%}
    {%- do parts.append(run_query("select version()").columns[0].values()[0]) -%}
    {%- if by_file.model is defined and by_file.files is defined -%}
        {%- set found = run_query(
            "select sql from duckdb_views() where database_name = '" ~ input.database ~ "' and schema_name = '"
            ~ input.schema ~ "' and view_name = '" ~ input.identifier ~ "'"
        ) -%}
        {%- do parts.append(found.columns[0].values() | join) -%}
    {%- elif by_file.model is defined -%}
        {%- set found = run_query("select distinct recipe from " ~ by_file_note(input)) -%}
        {%- do parts.append(found.columns[0].values() | join) -%}
    {%- endif -%}
    {{- return(local_md5(parts | join('\n'))) -}}
{%- endmacro %}


{#- Given positions count on from file to file, so the number of rows before such a file is part of its content. -#}
{% macro by_file_files(by_file, input) -%}
    create or replace temporary table files_to_hold as
    {%- if by_file.files is defined and by_file.model is defined %}
    with files as (
        select
            source_file,
            file_position,
            content,
            sum(rows_read) over (order by file_position rows between unbounded preceding and 1 preceding) as rows_before
        from {{ ref(by_file.files) }}
    ),

    with_places as (
        select distinct source_file from {{ input }}
        where given_position > 0
    )

    select
        files.source_file,
        files.file_position,
        concat_ws(' after ', files.content, if(with_places.source_file is null, null, files.rows_before)) as content
    from files
    left join with_places on files.source_file = with_places.source_file
    {%- elif by_file.model is defined %}
    select source_file, file_position, content from {{ by_file_note(input) }}
    {%- else %}
    select source_file, file_position, content from {{ source(by_file.source, 'files') }}
    {%- endif %}
{%- endmacro %}


{% macro by_file_change(existing, recipe) -%}
    {%- set whole = {'is_whole': true, 'gone': [], 'come': [], 'moved': false} -%}
    {%- if should_full_refresh() or existing is none or not existing.is_table -%}
        {{- return(whole) -}}
    {%- endif -%}
    {%- set note = by_file_note(existing) -%}
    {%- if load_relation(note) is none -%}
        {{- return(whole) -}}
    {%- endif -%}
    {%- set compared = run_query(
        "select coalesce(held.source_file, files.source_file) as source_file, held.recipe, held.content as was,"
        ~ " files.content as is_now, held.file_position as position_was, files.file_position as position_is"
        ~ " from " ~ note ~ " as held full join files_to_hold as files on held.source_file = files.source_file"
        ~ " order by files.file_position, held.file_position"
    ) -%}
    {%- set change = {'is_whole': false, 'gone': [], 'come': [], 'moved': false} -%}
    {%- set last = namespace(position=0, kept=0) -%}
    {%- for row in compared.rows -%}
        {%- set is_kept = row['was'] is not none and row['was'] == row['is_now'] -%}
        {%- if row['position_was'] is not none and row['recipe'] != recipe -%}
            {%- do change.update({'is_whole': true}) -%}
        {%- endif -%}
        {%- if is_kept -%}
            {#- as long as unchanged files keep their order, the first of several equal rows stays the first -#}
            {%- if row['position_was'] < last.position -%}
                {%- do change.update({'is_whole': true}) -%}
            {%- endif -%}
            {%- if row['position_was'] != row['position_is'] -%}
                {%- do change.update({'moved': true}) -%}
            {%- endif -%}
            {%- set last.position = row['position_was'] -%}
            {%- set last.kept = last.kept + 1 -%}
        {%- endif -%}
        {%- if row['position_was'] is not none and not is_kept -%}
            {%- do change.gone.append(row['source_file']) -%}
        {%- endif -%}
        {%- if row['position_is'] is not none and not is_kept -%}
            {%- do change.come.append(row['source_file']) -%}
        {%- endif -%}
    {%- endfor -%}
    {#- without an unchanged file there is nothing to keep -#}
    {{- return(whole if change.is_whole or not last.kept else change) -}}
{%- endmacro %}


{% macro by_file_exchange(by_file, input, target, change) -%}
    {%- if by_file.key is not defined %}
    {%- if change.gone %}
    delete from {{ target }} where source_file in {{ texts(change.gone) }};
    {%- endif %}
    {%- if change.come %}
    insert into {{ target }} by name
    {{ compiled_code | replace(input | string, rows_of_files(input, change.come)) }};
    {%- endif %}
    {%- else %}
    {%- set key = by_file.key | join(', ') %}
    create or replace temporary table keys_to_redo as
    {%- if change.come %}
    select {{ key }} from {{ rows_of_files(input, change.come) }}
    {%- endif %}
    {{- "\n    union" if change.come and change.gone }}
    {%- if change.gone %}
    select {{ key }} from {{ target }}
    where source_file in {{ texts(change.gone) }} or {{ by_file.several }}
    {%- endif %}
    {{- "\n    group by all" if not change.gone }};

    create or replace temporary table rows_to_redo as
    select rows_read.* from {{ input }} as rows_read
    semi join keys_to_redo using ({{ key }});

    delete from {{ target }} as held using keys_to_redo as redone
    where {% for column in by_file.key %}held.{{ column }} = redone.{{ column }}{{ " and " if not loop.last }}{% endfor %};

    insert into {{ target }} by name
    {{ compiled_code | replace(input | string, 'rows_to_redo') }};

    drop table keys_to_redo;
    drop table rows_to_redo;
    {%- endif %}
{%- endmacro %}


{% macro rows_of_files(input, files) -%}
    (select * from {{ input }} where source_file in {{ texts(files) }})
{%- endmacro %}


{% macro texts(values) -%}
    (
    {%- for value in values -%}
        '{{ value | replace("'", "''") }}'{{ ", " if not loop.last }}
    {%- endfor -%}
    )
{%- endmacro %}
