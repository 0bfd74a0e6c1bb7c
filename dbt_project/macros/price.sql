{#-
    A single plain amount above 0, such as `$1,234.56` or `7.5`, as a number; null for a range, a style sheet,
    another currency or no text.
-#}
{% macro plain_price(text) -%}
    case
        when regexp_full_match({{ text }}, '\s*\$?\s*(\d{1,3}(,\d{3})+|\d*)(\.\d{1,2})?\s*')
            then nullif(try_cast(regexp_replace({{ text }}, '[$,\s]', '', 'g') as double), 0)
    end
{%- endmacro %}
