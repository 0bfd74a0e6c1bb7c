{#- The value of a variable that must be a whole number of at least 0; an error that says so otherwise. -#}
{% macro whole_number(name) -%}
    {%- set value = var(name) -%}
    {%- if not (value | string).isdigit() -%}
        {{ exceptions.raise_compiler_error(
            "the variable " ~ name ~ " must be a whole number of 0 or more, not '" ~ value ~ "'"
        ) }}
    {%- endif -%}
    {{- return(value | int) -}}
{%- endmacro %}


{#- The rule that orders ties; an error that lists the rules where it is none of them. -#}
{% macro tie_order() -%}
    {%- set rules = ['hash', 'file', 'item', 'shuffle'] -%}
    {%- set rule = var('tie_order') -%}
    {%- if rule not in rules -%}
        {{ exceptions.raise_compiler_error(
            "the variable tie_order must be one of " ~ rules | join(', ') ~ ", not '" ~ rule ~ "'"
        ) }}
    {%- endif -%}
    {{- return(rule) -}}
{%- endmacro %}
