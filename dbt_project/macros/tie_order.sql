{#-
    The order of the interactions of one user, as expressions for an `order by` or a row comparison: by time; where
    the source gives an order, by that; at one moment, what another's split trains on before what it ranks; and ties
    by the rule.
-#}
{% macro interaction_order() -%}
    timestamp, millisecond, given_position, list_position({{ given_splits() }}, given_split), {{ tie_key() }}
{%- endmacro %}


{#- What a split made elsewhere may use an interaction for, in the order of their use. -#}
{% macro given_splits() -%}
    ['train', 'history', 'validation', 'test']
{%- endmacro %}


{#-
    What orders interactions of one user that share a timestamp (in the 2018 dumps most users have several
    purchases on one day, and a timestamp is a day), as expressions for an `order by` or a row comparison:

    hash      md5 of user, item and timestamp: unrelated to anything else, the same on every machine
    shuffle   md5 of the seed, user, item and timestamp: another seed, another order
    file      place in the dump, its files in the order in which the source names them: what public loaders do, with
              the artefacts of how the dump was written
    item      item id

    Every rule is completed by item and rating to a total order, so that no order is left to chance. Only
    `file` depends on the order of files and lines. md5 and not hash(): DuckDB may change hash() at any time.
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
