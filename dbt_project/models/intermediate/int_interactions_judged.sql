-- where no rule is on, nothing is worth a copy
{{ config(materialized='table' if any_cleaning_rule() else view_or_table()) }}

{%- set window = time_window() -%}
{%- set min_rating = plain_number('min_rating') -%}
{%- set min_history = whole_number('min_history') -%}
{#- those that no rule has dropped so far, and that may be dropped #}
{%- set in_question = 'given_split is null and dropped_by is null' %}

with deduplicated_interactions as (
    select * from {{ ref('int_interactions_deduplicated') }}
),

judged_alone as (
    select
        *,
        (
            case
                when given_split is not null then null
                {%- if window['from'] is not none %}
                when timestamp is null or timestamp < {{ window['from'] }} then 'time_window'
                {%- endif %}
                {%- if window['until'] is not none %}
                when timestamp is null or timestamp >= {{ window['until'] }} then 'time_window'
                {%- endif %}
                {%- if true_or_false('verified_only') %}
                when verified is distinct from true then 'verified_only'
                {%- endif %}
                {%- if min_rating | float > 0 %}
                when rating is null or rating < {{ min_rating }} then 'min_rating'
                {%- endif %}
            end
        )::string as dropped_by
    from deduplicated_interactions
),

judged_in_pairs as (
    {%- if true_or_false('first_interaction_only') %}
    select
        {{ all_but(['dropped_by']) }},
        case
            when {{ in_question }} and row_number() over (
                partition by user_id, item_id, {{ in_question }}
                order by {{ interaction_order() }}
            ) > 1 then 'first_interaction_only'
            else dropped_by
        end as dropped_by
    from judged_alone
    {%- else %}
    select * from judged_alone
    {%- endif %}
),

judged_in_histories as (
    {%- if min_history > 0 %}
    select
        {{ all_but(['dropped_by']) }},
        case
            when {{ in_question }}
                and count(*) filter (where {{ in_question }}) over (partition by user_id) < {{ min_history }}
                then 'min_history'
            else dropped_by
        end as dropped_by
    from judged_in_pairs
    {%- else %}
    select * from judged_in_pairs
    {%- endif %}
)

select * from judged_in_histories
