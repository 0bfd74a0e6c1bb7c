-- a table: its rows are read several times and are costly to clean
{{ config(materialized='by_file', by_file={'source': 'landing_metadata'}) }}

with landed as (
    select
        -- descriptions are full of tags; a template puts pieces of text together, so that none is dropped as a whole
        * replace (regexp_replace(item_text, '<[a-zA-Z/!][^<>]*>', ' ', 'g') as item_text)
    from {{ source('landing_metadata', 'rows') }}
),

-- by file, its place in the order in which the source names its files
places as (
    select map_from_entries(list((source_file, file_position))) as of_file
    from {{ source('landing_metadata', 'files') }}
),

-- all texts of a row in one list, so that there is one expression that cleans them
decoded as (
    select
        * exclude (title, brand, main_cat, category, item_text),
        {{ decoded_entities('item_text') }} as item_text,
        list_transform(
            [title, brand, main_cat] || coalesce(category, []::varchar[]),
            lambda text: {{ decoded_entities('text') }}
        ) as texts
    from landed
),

spaced as (
    select
        * replace (
            list_transform(texts, lambda text: {{ single_spaced('text') }}) as texts,
            {{ single_spaced('item_text') }} as item_text
        )
    from decoded
),

judged as (
    select
        *,
        list_transform(texts, lambda text: {{ is_markup('text') }}) as are_markup
    from spaced
),

named as (
    select
        *,
        -- sqlfluff cannot parse a lambda of two arguments
        list_transform(texts, lambda text, place: if(are_markup[place], null, nullif(text, ''))) as names, -- noqa: PRS
        -- some category paths run on, after a closing tag, into the list of features
        list_position(are_markup[4:], true) as first_markup_in_path
    from judged
)

select
    item_id,
    names[1] as title,
    names[2] as brand,
    coalesce(
        names[3],
        list_filter(names[4:coalesce(2 + first_markup_in_path, len(names))], lambda name: name is not null)[-1]
    ) as category,
    {{ plain_price('price') }} as price,
    if({{ plain_price('price') }} is null, nullif(trim(price), ''), null) as price_text,
    nullif(trim(image_url), '') as image_url,
    nullif(item_text, '') as item_text,
    source_file,
    places.of_file[source_file] as file_position,
    line_number,
    line_digest
from named
cross join places
