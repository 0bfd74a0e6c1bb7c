{#- What has no time comes last, and so does what has no rating; engines differ in where they put nulls. -#}
{% macro interaction_order() -%}
    {{ interaction_keys() | join(' nulls last, ') }} nulls last
{%- endmacro %}


{% macro interaction_keys() -%}
    {{- return(['timestamp', 'millisecond', 'given_position', place_of_given_split()] + tie_keys()) -}}
{%- endmacro %}


{% macro place_of_given_split() -%}
    {{- return(adapter.dispatch('place_of_given_split')()) -}}
{%- endmacro %}


{% macro default__place_of_given_split() -%}
    {{- return("list_position(['train', 'history', 'validation', 'test'], given_split)") -}}
{%- endmacro %}


{% macro spark__place_of_given_split() -%}
    {{- return("nullif(array_position(array('train', 'history', 'validation', 'test'), given_split), 0)") -}}
{%- endmacro %}


{#-
    Ties are common: in the dumps of 2018 a timestamp is a day, and most users have several purchases on one day. Each
    rule is completed to a total order, so that no order is left to chance. md5 and not hash(): DuckDB may change hash()
    at any time.
-#}
{% macro tie_keys() -%}
    {%- set rule = tie_order() -%}
    {%- if rule == 'hash' -%}
        {{- return(["md5(concat_ws('|', user_id, item_id, timestamp))", 'item_id', 'rating']) -}}
    {%- elif rule == 'shuffle' -%}
        {%- set key = "md5(concat_ws('|', " ~ whole_number('seed') ~ ", user_id, item_id, timestamp))" -%}
        {{- return([key, 'item_id', 'rating']) -}}
    {%- elif rule == 'file' -%}
        {{- return(['file_position', 'line_number', 'item_id', 'rating']) -}}
    {%- endif -%}
    {{- return(['item_id', 'rating']) -}}
{%- endmacro %}
