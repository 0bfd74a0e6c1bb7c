-- primary_key(user_id, position) holds on both sides, so that equal sets of rows are equal tables
(
    select user_id, position, item_id, timestamp from {{ ref('interactions') }}
    except all
    select user_id, position, item_id, timestamp from {{ ref('splits') }}
)
union all
(
    select user_id, position, item_id, timestamp from {{ ref('splits') }}
    except all
    select user_id, position, item_id, timestamp from {{ ref('interactions') }}
)
