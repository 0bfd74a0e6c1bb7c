{% macro landed(relation) -%}
    {{ adapter.dispatch('landed')(relation) }}
{%- endmacro %}


{% macro default__landed(relation) -%}
    {{ relation }}
{%- endmacro %}


{#- Spark would read some characters of a path as a pattern of file names. -#}
{% macro spark__landed(relation) -%}
    {%- set lake = namespace(path=env_var('RAW2RANK_LAKE', 'RAW2RANK_LAKE-is-not-set')) -%}
    {%- for character in '\\[]{}*?' -%}
        {%- set lake.path = lake.path | replace(character, '\\' ~ character) -%}
    {%- endfor -%}
    {%- set kind = relation.schema | replace('landing_', '') -%}
    {%- set table = relation.identifier | replace('/*', '') -%}
    parquet.`{{ lake.path | replace('`', '``') }}/landing/{{ kind }}/{{ table ~ ('.parquet' if table == 'files' else '') }}`
{%- endmacro %}


{% macro view_or_table() -%}
    {{- return(adapter.dispatch('view_or_table')()) -}}
{%- endmacro %}


{% macro default__view_or_table() -%}
    {{- return('view') -}}
{%- endmacro %}


{#- What leaves the warehouse is read from its files, and a view has none. -#}
{% macro spark__view_or_table() -%}
    {{- return('table') -}}
{%- endmacro %}


{#- Every run on Spark builds the whole of what it selects; `by_file` is a table there like any other. -#}
{% materialization by_file, adapter='spark' %}
    {{ return(materialization_table_spark()) }}
{% endmaterialization %}


{#- dbt compares these with the types of a mart. The contracts name types as DuckDB does; Spark's `varchar` wants a length. -#}
{% macro spark__get_empty_schema_sql(columns) -%}
    select
    {%- for column in columns.values() %}
        cast(null as {{ column.data_type | replace('varchar', 'string') }}) as {{ column.name }}{{ "," if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
