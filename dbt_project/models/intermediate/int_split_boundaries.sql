{%- set boundaries = split_boundaries() -%}
{%- set is_temporal = split_rule() == 'global-temporal' -%}

with own_interactions as (
    select timestamp from {{ ref('int_interactions_core') }}
    where given_split is null
)

select
    {%- for name, boundary in boundaries.items() %}
    {%- if not is_temporal %}
    null::bigint as {{ name }},
    {%- elif boundary.seconds is defined %}
    {{ boundary.seconds }}::bigint as {{ name }},
    {%- else %}
    -- of n timestamps in order that of number n times the share, rounded up; a decimal share makes it exact
    quantile_disc(timestamp, {{ boundary.quantile }}) as {{ name }},
    {%- endif %}
    {%- endfor %}
    {%- if is_temporal %}
    if(
        count(*) > count(timestamp),
        error(
            'split global-temporal needs the time of every interaction, and ' || (count(*) - count(timestamp))
            || ' of ' || count(*) || ' have none: set split to leave-one-out, which takes the order of the source'
        ),
        count(*)
    )
    {%- else %}
    count(*)
    {%- endif %} as interactions
from own_interactions
