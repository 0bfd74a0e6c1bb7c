-- a table: its rows are read several times and are costly to clean
{{ config(materialized='by_file', by_file={'source': 'landing_metadata'}) }}

with landed as (
    select
        -- descriptions are full of tags; a template puts pieces of text together, so that none is dropped as a whole
        {{ all_but(['item_text']) }},
        {{ without_tags('item_text') }} as item_text
    from {{ landed(source('landing_metadata', 'rows')) }}
),

-- by file, its place in the order in which the source names its files
places as (
    select {{ lookup('source_file', 'file_position') }} as of_file
    from {{ landed(source('landing_metadata', 'files')) }}
),

-- all texts of a row in one list, so that there is one expression that cleans them
decoded as (
    select
        {{ all_but(['title', 'brand', 'main_cat', 'category', 'item_text']) }},
        {{ decoded_entities('item_text') }} as item_text,
        {{ for_each(
            lists_joined(list_of(['title', 'brand', 'main_cat']), 'category'), 'text', decoded_entities('text')
        ) }} as texts
    from landed
),

spaced as (
    select
        {{ all_but(['texts', 'item_text']) }},
        {{ for_each('texts', 'text', single_spaced('text')) }} as texts,
        {{ single_spaced('item_text') }} as item_text
    from decoded
),

judged as (
    select
        *,
        {{ for_each('texts', 'text', is_markup('text')) }} as are_markup
    from spaced
),

named as (
    select
        *,
        -- sqlfluff cannot parse a lambda of two arguments
        {{ for_each('texts', 'text, place', "if(are_markup[place], null, nullif(text, ''))") }} as names, -- noqa: PRS
        -- some category paths run on, after a closing tag, into the list of features
        {{ first_true_from('are_markup', 4) }} as first_markup_in_path
    from judged
)

select
    item_id,
    {{ element_of('names', 1) }} as title,
    {{ element_of('names', 2) }} as brand,
    coalesce(
        {{ element_of('names', 3) }},
        {{ last_filled('names', 4, '2 + first_markup_in_path') }}
    ) as category,
    {{ plain_price('price') }} as price,
    if({{ plain_price('price') }} is null, nullif({{ trimmed('price') }}, ''), null) as price_text,
    nullif({{ trimmed('image_url') }}, '') as image_url,
    nullif(item_text, '') as item_text,
    source_file,
    places.of_file[source_file] as file_position,
    line_number,
    line_digest
from named
cross join places
