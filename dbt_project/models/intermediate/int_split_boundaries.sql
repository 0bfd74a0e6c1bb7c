{%- set is_temporal = split_rule() == 'global-temporal' -%}

with own_interactions as (
    select timestamp from {{ ref('int_interactions_core') }}
    where given_split is null
)

select
    {{ window_start('validation_from', 'own_interactions', 'timestamp') }} as validation_from,
    {{ window_start('test_from', 'own_interactions', 'timestamp') }} as test_from,
    {%- if is_temporal %}
    if(
        count(*) > count(timestamp),
        {{ failure("
            'split " ~ var('split') ~ " needs the time of every interaction, and ' || (count(*) - count(timestamp))
            || ' of ' || count(*) || ' have none: set split to leave-one-out, which takes the order of the source'
        ") }},
        count(*)
    )
    {%- else %}
    count(*)
    {%- endif %} as interactions
from own_interactions
