-- Every figure is counted by its own reason and none is what the others leave, so that a lost row shows.
with files as (
    select * from {{ ref('stg_files') }}
),

rejects as (
    select * from {{ ref('stg_rejects') }}
),

-- three times and not once: DuckDB would hold all rows and all columns of what several parts read
reviews as (
    select * from {{ ref('stg_reviews') }}
),

review_lines as (
    select
        line_digest,
        {{ place_of_line() }} as place
    from {{ ref('stg_reviews') }}
),

files_of_reviews as (
    select source_file from {{ ref('stg_reviews') }}
    group by source_file
),

metadata as (
    select * from {{ ref('stg_metadata') }}
),

deduplicated_interactions as (
    select * from {{ ref('int_interactions_deduplicated') }}
),

judged_interactions as (
    select * from {{ ref('int_interactions_judged') }}
),

deduplicated_metadata as (
    select * from {{ ref('int_metadata_deduplicated') }}
),

core_nodes as (
    select * from {{ ref('int_core_nodes') }}
),

interactions as (
    select * from {{ ref('interactions') }}
),

items as (
    select * from {{ ref('items') }}
),

landed_rows as (
    select source, source_file, rows_read, rows_repeated from files
),

rejected_lines as (
    select source, source_file, count(*) as rejected
    from rejects
    group by all
),

-- rows whose interaction was kept from another line
duplicate_reviews as (
    select
        'reviews' as source,
        reviews.source_file,
        reviews.line_digest,
        {{ place_of_line('reviews') }} as place
    from reviews
    inner join deduplicated_interactions as kept
        on reviews.user_id = kept.user_id
        and reviews.item_id = kept.item_id
        and reviews.timestamp is not distinct from kept.timestamp
        and reviews.millisecond = kept.millisecond
        and reviews.rating is not distinct from kept.rating
        and reviews.given_position = kept.given_position
        and reviews.given_split is not distinct from kept.given_split
    where kept.duplicate_rows > 0
        and (reviews.source_file, reviews.line_number) <> (kept.source_file, kept.line_number)
),

duplicate_metadata as (
    select
        'metadata' as source,
        metadata.source_file,
        metadata.line_digest,
        {{ place_of_line('metadata') }} as place
    from metadata
    inner join deduplicated_metadata as kept on metadata.item_id = kept.item_id
    where kept.source_rows > 1
        and (metadata.source_file, metadata.line_number) <> (kept.source_file, kept.line_number)
),

duplicate_rows as (
    select * from duplicate_reviews
    union all
    select * from duplicate_metadata
),

-- only of the lines of duplicates: grouping all lines would take most of the time of this model
first_lines as (
    select
        'reviews' as source,
        line_digest,
        min(place) as place
    from review_lines
    semi join duplicate_reviews using (line_digest)
    group by line_digest
    union all
    select
        'metadata' as source,
        line_digest,
        min({{ place_of_line() }}) as place
    from metadata
    semi join duplicate_metadata using (line_digest)
    group by line_digest
),

duplicate_lines as (
    select
        duplicates.source,
        duplicates.source_file,
        count(*) as duplicates,
        count(*) filter (where duplicates.place <> first_lines.place) as byte_identical_duplicates
    from duplicate_rows as duplicates
    inner join first_lines
        on duplicates.source = first_lines.source and duplicates.line_digest = first_lines.line_digest
    group by all
),

dropped_interactions as (
    select
        'reviews' as source,
        {%- for rule in cleaning_rules() %}
        count(*) filter (where dropped_by = '{{ rule }}') as dropped_by_{{ rule }},
        {%- endfor %}
        source_file
    from judged_interactions
    group by all
),

-- interactions that no rule dropped, but whose user or item is not in the k-core
interactions_outside_core as (
    select 'reviews' as source, source_file, count(*) as dropped_by_k_core
    from judged_interactions
    where dropped_by is null
        and given_split is null
        and (
            user_id not in (select node_id from core_nodes where side = 'user')
            or item_id not in (select node_id from core_nodes where side = 'item')
        )
    group by all
),

metadata_outside_catalogue as (
    select 'metadata' as source, described.source_file, count(*) as not_in_catalogue
    from deduplicated_metadata as described
    anti join interactions on described.item_id = interactions.item_id
    group by all
),

kept_lines as (
    select 'reviews' as source, source_file, count(*) as kept
    from interactions
    group by all
    union all
    select 'metadata' as source, described.source_file, count(*) as kept
    from items
    inner join deduplicated_metadata as described on items.item_id = described.item_id
    where items.has_metadata
    group by all
),

-- also files that are named by a row and by no list of files
all_files as (
    select source, source_file from landed_rows
    union
    select source, source_file from rejected_lines
    union
    select 'reviews' as source, source_file from files_of_reviews
    union
    select 'metadata' as source, source_file from metadata
),

counts as (
    select
        all_files.source,
        all_files.source_file,
        coalesce(landed_rows.rows_read, 0) as rows_read,
        coalesce(rejected_lines.rejected, 0) as rejected,
        coalesce(landed_rows.rows_repeated, 0) as repeated,
        coalesce(duplicate_lines.duplicates, 0) as duplicates,
        coalesce(duplicate_lines.byte_identical_duplicates, 0) as byte_identical_duplicates,
        {%- for rule in cleaning_rules() %}
        coalesce(dropped_interactions.dropped_by_{{ rule }}, 0) as dropped_by_{{ rule }},
        {%- endfor %}
        coalesce(interactions_outside_core.dropped_by_k_core, 0) as dropped_by_k_core,
        coalesce(metadata_outside_catalogue.not_in_catalogue, 0) as not_in_catalogue,
        coalesce(kept_lines.kept, 0) as kept
    from all_files
    left join landed_rows using (source, source_file)
    left join rejected_lines using (source, source_file)
    left join duplicate_lines using (source, source_file)
    left join dropped_interactions using (source, source_file)
    left join interactions_outside_core using (source, source_file)
    left join metadata_outside_catalogue using (source, source_file)
    left join kept_lines using (source, source_file)
)

select
    *,
    rows_read - rejected - repeated - duplicates
    {%- for rule in cleaning_rules() %}
    - dropped_by_{{ rule }}
    {%- endfor %}
    - dropped_by_k_core - not_in_catalogue - kept as unexplained
from counts
order by source, source_file
