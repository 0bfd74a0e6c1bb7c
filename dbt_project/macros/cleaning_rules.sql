{% macro cleaning_rules() -%}
    {{- return(['time_window', 'verified_only', 'min_rating', 'first_interaction_only', 'min_history']) -}}
{%- endmacro %}


{% macro any_cleaning_rule() -%}
    {%- set window = time_window() -%}
    {{- return(
        window['from'] is not none
        or window['until'] is not none
        or true_or_false('verified_only')
        or plain_number('min_rating') | float > 0
        or true_or_false('first_interaction_only')
        or whole_number('min_history') > 0
    ) -}}
{%- endmacro %}
