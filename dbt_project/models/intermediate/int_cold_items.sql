-- an item that is in a history divided elsewhere may be trained on there
with own_items as (
    select item_id
    from {{ ref('int_interactions_core') }}
    group by item_id
    having count(given_split) = 0
),

drawn as (
    select
        item_id,
        row_number() over (order by md5(concat_ws('|', 'cold', {{ whole_number('seed') }}, item_id)), item_id) as place,
        greatest(1, floor(count(*) over () * {{ cold_items_share() }}))::bigint as wanted
    from own_items
)

select
    item_id,
    if(place <= wanted, 'test', 'validation') as cold_for
from drawn
where
    place <= 2 * wanted
    and {{ "true" if split_rule() == 'cold-items' else "false" }}
