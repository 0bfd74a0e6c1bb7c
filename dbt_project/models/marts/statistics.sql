{#- judged here too, so that what is recorded is a date -#}
{%- do time_window() -%}
{%- set from_date, until_date = var('from_date') | string, var('until_date') | string -%}

with interactions as (
    select * from {{ ref('interactions') }}
),

users as (
    select * from {{ ref('users') }}
),

items as (
    select * from {{ ref('items') }}
),

metadata as (
    select * from {{ ref('int_metadata_deduplicated') }}
),

split_boundaries as (
    select * from {{ ref('int_split_boundaries') }}
),

of_interactions as (
    select
        count(*) as interactions,
        min(timestamp) as first_timestamp,
        max(timestamp) as last_timestamp,
        count(timestamp) = count(*) as has_timestamps,
        count(*) filter (where given_position > 0) = count(*) and count(*) > 0 as has_given_order,
        count(given_split) = count(*) and count(*) > 0 as has_given_split
    from interactions
),

-- apart from the others: counted as distinct records they would take half as long again
of_pairs as (
    select count(*) as pairs
    from (select user_id, item_id from interactions group by user_id, item_id) as pairs_met
),

of_users as (
    select
        count(*) as users,
        avg(interactions) as mean_history_length,
        median(interactions) as median_history_length,
        count(*) filter (where role in ('validation and test', 'test')) as users_with_test,
        count(*) filter (where role in ('validation and test', 'validation')) as users_with_validation,
        count(*) filter (where role in ('training only', 'not used')) as users_too_short,
        coalesce(sum(tied_interactions), 0)::bigint as tied_interactions
    from users
),

of_items as (
    select
        count(*) as items,
        count(*) filter (where has_metadata) as items_with_metadata,
        count(title) as items_with_title,
        count(brand) as items_with_brand,
        count(category) as items_with_category,
        count(price) as items_with_price
    from items
),

of_metadata as (
    select
        coalesce(sum(source_rows), 0)::bigint as metadata_rows,
        count(*) as metadata_asins
    from metadata
)

select
    of_users.users,
    of_items.items,
    of_interactions.interactions,
    of_interactions.interactions / nullif(of_users.users * of_items.items, 0) as density,
    of_users.mean_history_length,
    of_users.median_history_length,
    of_users.users_with_test,
    of_users.users_with_validation,
    of_users.users_too_short,
    of_users.tied_interactions,
    of_interactions.interactions - of_pairs.pairs as repeated_interactions,
    of_items.items_with_metadata,
    of_items.items_with_title,
    of_items.items_with_brand,
    of_items.items_with_category,
    of_items.items_with_price,
    of_metadata.metadata_rows,
    of_metadata.metadata_asins,
    of_interactions.first_timestamp,
    of_interactions.last_timestamp,
    of_interactions.has_timestamps,
    nullif('{{ from_date }}', '') as from_date,
    nullif('{{ until_date }}', '') as until_date,
    {{ true_or_false('verified_only') }} as verified_only,
    {{ plain_number('min_rating') }}::double as min_rating,
    {{ true_or_false('first_interaction_only') }} as first_interaction_only,
    {{ whole_number('min_history') }} as min_history,
    {{ whole_number('k_core') }} as k_core,
    {{ k_core_of('users') }} as k_core_users,
    {{ k_core_of('items') }} as k_core_items,
    if(of_interactions.has_given_order, 'given', '{{ tie_order() }}') as tie_order,
    {{ whole_number('seed') }}::bigint as seed,
    if(of_interactions.has_given_split, 'given', '{{ split_rule() }}') as split,
    {{ whole_number('validation_users') }} as validation_users,
    split_boundaries.validation_from,
    split_boundaries.test_from
from of_users
cross join of_items
cross join of_interactions
cross join of_pairs
cross join of_metadata
cross join split_boundaries
