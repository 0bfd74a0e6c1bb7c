select
    {{ k_core_of('users') }} as k_core_users,
    {{ k_core_of('items') }} as k_core_items,
    (select count(*) from {{ ref('int_interactions_deduplicated') }}) as interactions_before_cleaning_rules,
    (select count(*) from {{ ref('int_interactions_selected') }}) as interactions_before_k_core
where not exists (select 1 from {{ ref('interactions') }})
