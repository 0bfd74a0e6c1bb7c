{% macro plain_price(text) -%}
    {{ adapter.dispatch('plain_price')(text) }}
{%- endmacro %}


{% macro default__plain_price(text) -%}
    case
        when regexp_full_match({{ text }}, '\s*\$?\s*(\d{1,3}(,\d{3})+|\d*)(\.\d{1,2})?\s*')
            then nullif(try_cast(regexp_replace({{ text }}, '[$,\s]', '', 'g') as double), 0)
    end
{%- endmacro %}


{#- Java's `\s` has the vertical tab too. -#}
{% macro spark__plain_price(text) -%}
    {%- set space = '[\\t\\n\\f\\r ]*' -%}
    case
        when regexp_like(
            {{ text }}, r'\A{{ space }}\$?{{ space }}(\d{1,3}(,\d{3})+|\d*)(\.\d{1,2})?{{ space }}\z'
        )
            then nullif(try_cast(regexp_replace({{ text }}, r'[$,\t\n\f\r ]', '') as double), 0)
    end
{%- endmacro %}
