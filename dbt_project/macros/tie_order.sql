{% macro interaction_order() -%}
    timestamp, millisecond, given_position, list_position({{ given_splits() }}, given_split), {{ tie_key() }}
{%- endmacro %}


{% macro given_splits() -%}
    ['train', 'history', 'validation', 'test']
{%- endmacro %}


{#-
    Ties are common: in the dumps of 2018 a timestamp is a day, and most users have several purchases on one day. Each
    rule is completed to a total order, so that no order is left to chance. md5 and not hash(): DuckDB may change hash()
    at any time.
-#}
{% macro tie_key() -%}
    {%- set rule = tie_order() -%}
    {%- if rule == 'hash' -%}
        md5(concat_ws('|', user_id, item_id, timestamp)), item_id, rating
    {%- elif rule == 'shuffle' -%}
        md5(concat_ws('|', {{ whole_number('seed') }}, user_id, item_id, timestamp)), item_id, rating
    {%- elif rule == 'file' -%}
        file_position, line_number, item_id, rating
    {%- else -%}
        item_id, rating
    {%- endif -%}
{%- endmacro %}
