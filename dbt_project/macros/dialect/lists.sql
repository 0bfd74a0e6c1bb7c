{% macro list_of(elements) -%}
    {{ adapter.dispatch('list_of')(elements) }}
{%- endmacro %}


{% macro default__list_of(elements) -%}
    [{{ elements | join(', ') }}]
{%- endmacro %}


{% macro spark__list_of(elements) -%}
    array({{ elements | join(', ') }})
{%- endmacro %}


{% macro lists_joined(texts, others) -%}
    {{ adapter.dispatch('lists_joined')(texts, others) }}
{%- endmacro %}


{% macro default__lists_joined(texts, others) -%}
    {{ texts }} || coalesce({{ others }}, []::varchar[])
{%- endmacro %}


{% macro spark__lists_joined(texts, others) -%}
    concat({{ texts }}, coalesce({{ others }}, cast(array() as array<string>)))
{%- endmacro %}


{% macro for_each(list, element, expression) -%}
    {{ adapter.dispatch('for_each')(list, element, expression) }}
{%- endmacro %}


{% macro default__for_each(list, element, expression) -%}
    list_transform({{ list }}, lambda {{ element }}: {{ expression }})
{%- endmacro %}


{#- With two names the second is the place of the element, by which `[]` finds it: counted from 0 here, from 1 in DuckDB. -#}
{% macro spark__for_each(list, element, expression) -%}
    transform({{ list }}, {{ '(' ~ element ~ ')' if ',' in element else element }} -> {{ expression }})
{%- endmacro %}


{% macro element_of(list, place) -%}
    {{ adapter.dispatch('element_of')(list, place) }}
{%- endmacro %}


{% macro default__element_of(list, place) -%}
    {{ list }}[{{ place }}]
{%- endmacro %}


{% macro spark__element_of(list, place) -%}
    get({{ list }}, {{ place }} - 1)
{%- endmacro %}


{% macro first_true_from(list, place) -%}
    {{ adapter.dispatch('first_true_from')(list, place) }}
{%- endmacro %}


{% macro default__first_true_from(list, place) -%}
    list_position({{ list }}[{{ place }}:], true)
{%- endmacro %}


{% macro spark__first_true_from(list, place) -%}
    nullif(array_position(slice({{ list }}, {{ place }}, size({{ list }})), true), 0)
{%- endmacro %}


{% macro last_filled(list, first, last) -%}
    {{ adapter.dispatch('last_filled')(list, first, last) }}
{%- endmacro %}


{% macro default__last_filled(list, first, last) -%}
    list_filter({{ list }}[{{ first }}:coalesce({{ last }}, len({{ list }}))], lambda name: name is not null)[-1]
{%- endmacro %}


{% macro spark__last_filled(list, first, last) -%}
    {%- set length = 'cast(greatest(coalesce(' ~ last ~ ', size(' ~ list ~ ')) - ' ~ (first - 1) ~ ', 0) as int)' -%}
    try_element_at(filter(slice({{ list }}, {{ first }}, {{ length }}), name -> name is not null), -1)
{%- endmacro %}
