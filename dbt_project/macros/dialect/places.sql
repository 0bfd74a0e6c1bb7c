{#-
    The smallest of these numbers is the place of the first of several lines. A record of both would say the same, and to
    drop duplicates by the smallest of records takes DuckDB twice as long.
-#}
{% macro place_of_line(relation=none) -%}
    {%- set of_relation = '' if relation is none else relation ~ '.' -%}
    {{ of_relation }}file_position * {{ lines_at_most() }} + {{ of_relation }}line_number
{%- endmacro %}


{% macro file_position_of(place) -%}
    {{ adapter.dispatch('file_position_of')(place) }}
{%- endmacro %}


{% macro default__file_position_of(place) -%}
    {{ place }} // {{ lines_at_most() }}
{%- endmacro %}


{% macro spark__file_position_of(place) -%}
    {{ place }} div {{ lines_at_most() }}
{%- endmacro %}


{% macro line_number_of(place) -%}
    {{ place }} % {{ lines_at_most() }}
{%- endmacro %}


{#- Of one file; nine million files fit into a bigint with it, and both engines refuse more as an overflow. -#}
{% macro lines_at_most() -%}
    1000000000000
{%- endmacro %}
