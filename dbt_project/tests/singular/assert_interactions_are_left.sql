select
    {{ whole_number('k_core') }} as k_core,
    (select count(*) from {{ ref('int_interactions_deduplicated') }}) as interactions_before_k_core
where not exists (select 1 from {{ ref('interactions') }})
