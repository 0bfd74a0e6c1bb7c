{{ config(
    materialized='by_file',
    by_file={'model': 'stg_metadata', 'key': ['item_id'], 'several': 'source_rows > 1'},
) }}

with metadata as (
    select * from {{ ref('stg_metadata') }}
),

described as (
    select
        item_id,
        {{ record({
            'title': 'title',
            'brand': 'brand',
            'category': 'category',
            'price': 'price',
            'image_url': 'image_url'
        }) }} as fields,
        price_text,
        item_text,
        source_file,
        file_position,
        line_number,
        (title is not null)::integer
        + (brand is not null)::integer
        + (category is not null)::integer
        + (price is not null)::integer
        + (image_url is not null)::integer as fields_filled
    from metadata
),

items as (
    select
        item_id,
        -- most fields filled, then the least in the order of the fields; the place decides only between equals
        min_by(
            {{ record({
                'fields': 'fields',
                'price_text': 'price_text',
                'item_text': 'item_text',
                'source_file': 'source_file',
                'file_position': 'file_position',
                'line_number': 'line_number'
            }) }},
            {{ record({
                'fields_missing': '-fields_filled',
                'title': "coalesce(fields.title, '')",
                'brand': "coalesce(fields.brand, '')",
                'category': "coalesce(fields.category, '')",
                'price': 'coalesce(fields.price, 0)',
                'image_url': "coalesce(fields.image_url, '')",
                'price_text': "coalesce(price_text, '')",
                'item_text': "coalesce(item_text, '')",
                'file_position': 'file_position',
                'line_number': 'line_number'
            }) }}
        ) as chosen,
        count(*) as source_rows,
        count(distinct fields) > 1 as conflicting
    from described
    group by item_id
)

select
    item_id,
    chosen.fields.title as title,
    chosen.fields.brand as brand,
    chosen.fields.category as category,
    chosen.fields.price as price,
    chosen.price_text as price_text,
    chosen.fields.image_url as image_url,
    chosen.item_text as item_text,
    chosen.source_file as source_file,
    chosen.file_position as file_position,
    chosen.line_number as line_number,
    source_rows,
    conflicting
from items
