with interactions as (
    select * from {{ ref('interactions') }}
),

metadata as (
    select * from {{ ref('int_metadata_deduplicated') }}
),

catalogue as (
    select
        item_id,
        count(*) as interactions
    from interactions
    group by item_id
)

select
    catalogue.item_id,
    metadata.title,
    metadata.brand,
    metadata.category,
    metadata.price,
    metadata.image_url,
    metadata.item_text,
    metadata.item_id is not null as has_metadata,
    catalogue.interactions
from catalogue
left join metadata on catalogue.item_id = metadata.item_id
order by catalogue.item_id
