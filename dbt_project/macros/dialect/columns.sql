{% macro all_but(columns) -%}
    {{ adapter.dispatch('all_but')(columns) }}
{%- endmacro %}


{% macro default__all_but(columns) -%}
    * exclude ({{ columns | join(', ') }})
{%- endmacro %}


{% macro spark__all_but(columns) -%}
    * except ({{ columns | join(', ') }})
{%- endmacro %}


{% macro union_all_of_same_columns() -%}
    {{ adapter.dispatch('union_all_of_same_columns')() }}
{%- endmacro %}


{% macro default__union_all_of_same_columns() -%}
    union all by name
{%- endmacro %}


{#- Spark has no `by name`; landing writes both tables by one schema, so that their columns have one order. -#}
{% macro spark__union_all_of_same_columns() -%}
    union all
{%- endmacro %}
