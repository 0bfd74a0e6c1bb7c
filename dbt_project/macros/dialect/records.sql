{% macro record(fields) -%}
    {{ adapter.dispatch('record')(fields) }}
{%- endmacro %}


{% macro default__record(fields) -%}
    {
    {%- for name, value in fields.items() -%}
        '{{ name }}': {{ value }}{{ ", " if not loop.last }}
    {%- endfor -%}
    }
{%- endmacro %}


{% macro spark__record(fields) -%}
    named_struct(
    {%- for name, value in fields.items() -%}
        '{{ name }}', {{ value }}{{ ", " if not loop.last }}
    {%- endfor -%}
    )
{%- endmacro %}


{% macro sortable(keys) -%}
    {{ adapter.dispatch('sortable')(keys) }}
{%- endmacro %}


{% macro default__sortable(keys) -%}
    row({{ keys | join(', ') }})
{%- endmacro %}


{#- In a comparison of records DuckDB takes null for the largest value, and Spark for the smallest. -#}
{% macro spark__sortable(keys) -%}
    struct(
    {%- for key in keys -%}
        {{ key }} is null, {{ key }}{{ ", " if not loop.last }}
    {%- endfor -%}
    )
{%- endmacro %}


{% macro lookup(key, value) -%}
    {{ adapter.dispatch('lookup')(key, value) }}
{%- endmacro %}


{% macro default__lookup(key, value) -%}
    map_from_entries(list(({{ key }}, {{ value }})))
{%- endmacro %}


{% macro spark__lookup(key, value) -%}
    map_from_entries(collect_list(struct({{ key }}, {{ value }})))
{%- endmacro %}
