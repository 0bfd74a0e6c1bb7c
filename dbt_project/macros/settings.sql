{% macro whole_number(name) -%}
    {%- set value = var(name) -%}
    {%- if not (value | string).isdigit() -%}
        {{ exceptions.raise_compiler_error(
            "the variable " ~ name ~ " must be a whole number of 0 or more, not '" ~ value ~ "'"
        ) }}
    {%- endif -%}
    {{- return(value | int) -}}
{%- endmacro %}


{% macro plain_number(name) -%}
    {%- set value = var(name) | string -%}
    {%- if not modules.re.fullmatch('[0-9]+([.][0-9]+)?', value) -%}
        {{ exceptions.raise_compiler_error(
            "the variable " ~ name ~ " must be a number of 0 or more, not '" ~ value ~ "'"
        ) }}
    {%- endif -%}
    {{- return(value) -}}
{%- endmacro %}


{% macro true_or_false(name) -%}
    {%- set value = var(name) | string | lower -%}
    {%- if value not in ['true', 'false'] -%}
        {{ exceptions.raise_compiler_error(
            "the variable " ~ name ~ " must be true or false, not '" ~ var(name) ~ "'"
        ) }}
    {%- endif -%}
    {{- return(value == 'true') -}}
{%- endmacro %}


{% macro one_of(name, words) -%}
    {%- set value = var(name) -%}
    {%- if value not in words -%}
        {{ exceptions.raise_compiler_error(
            "the variable " ~ name ~ " must be one of " ~ words | join(', ') ~ ", not '" ~ value ~ "'"
        ) }}
    {%- endif -%}
    {{- return(value) -}}
{%- endmacro %}


{% macro tie_order() -%}
    {{- return(one_of('tie_order', ['hash', 'file', 'item', 'shuffle'])) -}}
{%- endmacro %}


{% macro split_rule() -%}
    {%- set rule = one_of('split', ['leave-one-out', 'leave-last-k', 'global-temporal', 'temporal-folds', 'cold-items']) -%}
    {#- the last of several folds is a global-temporal split; the earlier ones are made outside the warehouse -#}
    {{- return('global-temporal' if rule == 'temporal-folds' else rule) -}}
{%- endmacro %}


{% macro held_out_at_the_end() -%}
    {%- if split_rule() == 'leave-one-out' -%}
        {{- return(1) -}}
    {%- elif split_rule() != 'leave-last-k' -%}
        {{- return(0) -}}
    {%- elif whole_number('last_items') == 0 -%}
        {{ exceptions.raise_compiler_error(
            "the variable last_items must be a whole number of 1 or more, not '" ~ var('last_items') ~ "'"
        ) }}
    {%- endif -%}
    {{- return(whole_number('last_items')) -}}
{%- endmacro %}


{% macro cold_items_share() -%}
    {%- set share = plain_number('cold_items') -%}
    {%- if share | float <= 0 or share | float >= 0.5 -%}
        {{ exceptions.raise_compiler_error(
            "the variable cold_items must be a share above 0 and below 0.5, not '" ~ var('cold_items') ~ "'"
        ) }}
    {%- endif -%}
    {{- return(share) -}}
{%- endmacro %}


{% macro k_core_of(side) -%}
    {%- set name = 'k_core_' ~ side -%}
    {%- if var(name) | string == '-1' -%}
        {{- return(whole_number('k_core')) -}}
    {%- elif not (var(name) | string).isdigit() -%}
        {{ exceptions.raise_compiler_error(
            "the variable " ~ name ~ " must be a whole number of 0 or more, or -1 to be as k_core, not '"
            ~ var(name) ~ "'"
        ) }}
    {%- endif -%}
    {{- return(whole_number(name)) -}}
{%- endmacro %}


{% macro start_of_day(text) -%}
    {%- set parts = modules.re.fullmatch('([0-9]{4})-([0-9]{2})-([0-9]{2})', text) -%}
    {%- if not parts -%}
        {{- return(none) -}}
    {%- endif -%}
    {%- set year, month, day = parts[1] | int, parts[2] | int, parts[3] | int -%}
    {%- set is_leap_year = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) -%}
    {%- set days = [31, 29 if is_leap_year else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] -%}
    {%- if year == 0 or month == 0 or month > 12 or day == 0 or day > days[month - 1] -%}
        {{- return(none) -}}
    {%- endif -%}
    {%- set since_1970 = modules.datetime.date(year, month, day) - modules.datetime.date(1970, 1, 1) -%}
    {{- return(since_1970.days * 86400) -}}
{%- endmacro %}


{% macro time_window() -%}
    {%- set window = {} -%}
    {%- for side in ['from', 'until'] -%}
        {%- set text = var(side ~ '_date') | string -%}
        {%- do window.update({side: start_of_day(text)}) -%}
        {%- if text and window[side] is none -%}
            {{ exceptions.raise_compiler_error(
                "the variable " ~ side ~ "_date must be an ISO date such as 2014-12-31, or empty, not '" ~ text ~ "'"
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- if window['from'] is not none and window['until'] is not none and window['from'] >= window['until'] -%}
        {{ exceptions.raise_compiler_error(
            "the variable from_date must be before until_date, not '" ~ var('from_date') ~ "' and '"
            ~ var('until_date') ~ "'"
        ) }}
    {%- endif -%}
    {{- return(window) -}}
{%- endmacro %}


{% macro split_boundaries() -%}
    {%- set boundaries = {} -%}
    {%- for name in ['validation_from', 'test_from'] -%}
        {%- set text = var(name) | string -%}
        {%- if start_of_day(text) is not none -%}
            {%- do boundaries.update({name: {'seconds': start_of_day(text)}}) -%}
        {%- elif modules.re.fullmatch('0?[.][0-9]{1,15}', text) and text | float > 0 -%}
            {%- do boundaries.update({name: {'quantile': text}}) -%}
        {%- else -%}
            {{ exceptions.raise_compiler_error(
                "the variable " ~ name ~ " must be a number between 0 and 1, such as '0.8', or an ISO date such as "
                ~ "2014-12-31, not '" ~ text ~ "'"
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- set first, second = boundaries['validation_from'], boundaries['test_from'] -%}
    {%- if (first.seconds is defined and second.seconds is defined and first.seconds >= second.seconds)
        or (first.quantile is defined and second.quantile is defined
            and first.quantile | float >= second.quantile | float) -%}
        {{ exceptions.raise_compiler_error(
            "the variable validation_from must be before test_from, not '" ~ var('validation_from') ~ "' and '"
            ~ var('test_from') ~ "'"
        ) }}
    {%- endif -%}
    {{- return(boundaries) -}}
{%- endmacro %}


{% macro window_start(name, relation, timestamp) -%}
    {%- set boundary = split_boundaries()[name] -%}
    {%- if split_rule() != 'global-temporal' -%}
        null::bigint
    {%- elif boundary.seconds is defined -%}
        {{ boundary.seconds }}::bigint
    {%- else -%}
        {{ value_at_share(relation, timestamp, boundary.quantile) }}
    {%- endif -%}
{%- endmacro %}
