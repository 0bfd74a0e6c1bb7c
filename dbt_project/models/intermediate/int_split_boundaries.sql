{%- set is_temporal = split_rule() == 'global-temporal' -%}

-- read by the global-temporal split alone, and named here for a lineage that no setting changes
with own_interactions as ( -- noqa: ST03
    select timestamp from {{ ref('int_interactions_core') }}
    where given_split is null
)

select
    {{ window_start('validation_from', 'own_interactions', 'timestamp') }} as validation_from,
    {{ window_start('test_from', 'own_interactions', 'timestamp') }} as test_from,
    {#- otherwise nobody reads the number, and to count them would join the view of the core once more #}
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
    null::bigint
    {%- endif %} as interactions
{%- if is_temporal %}
from own_interactions
{%- endif %}
