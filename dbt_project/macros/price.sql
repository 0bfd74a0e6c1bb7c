{% macro plain_price(text) -%}
    case
        when regexp_full_match({{ text }}, '\s*\$?\s*(\d{1,3}(,\d{3})+|\d*)(\.\d{1,2})?\s*')
            then nullif(try_cast(regexp_replace({{ text }}, '[$,\s]', '', 'g') as double), 0)
    end
{%- endmacro %}
