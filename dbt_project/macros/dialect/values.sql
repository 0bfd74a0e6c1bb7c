{% macro day_of(seconds) -%}
    {{ adapter.dispatch('day_of')(seconds) }}
{%- endmacro %}


{% macro default__day_of(seconds) -%}
    make_timestamp({{ seconds }} * 1000000)::date
{%- endmacro %}


{#- In whole days and not by a timestamp, which would depend on the time zone of the session. -#}
{% macro spark__day_of(seconds) -%}
    date_from_unix_date(({{ seconds }} - pmod({{ seconds }}, 86400)) div 86400)
{%- endmacro %}


{% macro is_finite(number) -%}
    {{ adapter.dispatch('is_finite')(number) }}
{%- endmacro %}


{% macro default__is_finite(number) -%}
    isfinite({{ number }}::double)
{%- endmacro %}


{% macro spark__is_finite(number) -%}
    ({{ number }}::double is null or abs({{ number }}::double) < double('Infinity'))
{%- endmacro %}


{% macro failure(message) -%}
    {{ adapter.dispatch('failure')(message) }}
{%- endmacro %}


{% macro default__failure(message) -%}
    error({{ message }})
{%- endmacro %}


{% macro spark__failure(message) -%}
    raise_error({{ message }})
{%- endmacro %}


{% macro value_at_share(relation, column, share) -%}
    {{ adapter.dispatch('value_at_share')(relation, column, share) }}
{%- endmacro %}


{% macro default__value_at_share(relation, column, share) -%}
    quantile_disc({{ column }}, {{ share }})
{%- endmacro %}


{#-
    `percentile_disc` would multiply in floating point, where 0.07 of 100 is more than 7, and hold all values in one map.
    Here the share is a decimal number, and each value is one row.
-#}
{% macro spark__value_at_share(relation, column, share) -%}
    (
        select min({{ column }})
        from (
            select
                {{ column }},
                sum(count({{ column }})) over (order by {{ column }}) as values_so_far,
                sum(count({{ column }})) over () as all_values
            from {{ relation }}
            where {{ column }} is not null
            group by {{ column }}
        ) as counted
        where values_so_far >= {{ share }} * all_values
    )
{%- endmacro %}
