"""Which K_CORE leaves enough of a dataset, and what is said where none is left."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.k_core import Core, core, largest
from orchestration.warehouse.nothing_left import why_nothing_is_left

edges = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60)


def by_hand(pairs: list[tuple[int, int]], users_need: int, items_need: int) -> list[tuple[int, int]]:
    while True:
        users, items = Counter(user for user, _ in pairs), Counter(item for _, item in pairs)
        left = [(user, item) for user, item in pairs if users[user] >= users_need and items[item] >= items_need]
        if left == pairs:
            return left
        pairs = left


def arrays(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    columns = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


@settings(deadline=None)
@given(edges, st.integers(0, 6), st.integers(0, 6))
def test_the_core_is_what_peeling_by_hand_leaves(pairs, users_need, items_need):
    left = by_hand(pairs, users_need, items_need)
    users = Counter(user for user, _ in left)
    expected = Core(len(users), len({item for _, item in left}), len(left), max(users.values(), default=0))
    assert core(*arrays(pairs), users_need, items_need) == expected


@settings(deadline=None)
@given(edges)
def test_the_largest_threshold_leaves_enough_and_the_next_does_not(pairs):
    def enough(k: int) -> bool:
        left = core(*arrays(pairs), k, k)
        return left.users >= 2 and left.items >= 3 and left.longest >= 2

    works = [k for k in range(9) if enough(k)]
    found = largest(8, lambda k: core(*arrays(pairs), k, k), 2, 3)
    assert (found[0] if found else None) == (max(works) if works else None)


def pairs_of(users: int, items: int) -> list[tuple[str, str]]:
    """Every user once with every item."""
    return [(f"u{user}", f"i{item}") for user in range(users) for item in range(items)]


@pytest.mark.parametrize(
    ("pairs", "said", "expected"),
    [
        (
            [*pairs_of(3, 12), ("lonely", "i0")],
            {"k_core": 5},
            "Shop: the k-core (K_CORE=5) leaves none of 37 interactions; the largest that works for this dataset is "
            "K_CORE=3, which leaves 3 users, 12 items and 36 interactions",
        ),
        (
            pairs_of(3, 12),
            {"k_core": 5, "k_core_users": 13},
            "Shop: the k-core (K_CORE=5, K_CORE_USERS=13) leaves none of 36 interactions; the largest that works for "
            "this dataset is K_CORE_USERS=3 K_CORE_ITEMS=3, which leaves 3 users, 12 items and 36 interactions",
        ),
        (
            pairs_of(3, 12),
            {"k_core": 5, "k_core_users": 12},
            "Shop: the k-core (K_CORE=5, K_CORE_USERS=12) leaves none of 36 interactions; the largest that works for "
            "this dataset is K_CORE=3, which leaves 3 users, 12 items and 36 interactions",
        ),
        (
            pairs_of(3, 9),
            {"k_core": 5},
            "Shop: the k-core (K_CORE=5) leaves none of 27 interactions; no K_CORE works, since a dataset needs 2 "
            "users, 10 items and a user with 2 interactions: bring a larger dump",
        ),
        (
            [],
            {"k_core": 5, "verified_only": True, "min_rating": 4.5, "from_date": "", "min_history": 0},
            "Shop: the cleaning rules (VERIFIED_ONLY, MIN_RATING) leave none of 7 interactions; loosen them or "
            "bring a larger dump",
        ),
    ],
)
def test_what_is_said_where_nothing_is_left(tmp_path: Path, pairs, said, expected):
    warehouse = tmp_path / "Shop.duckdb"
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("create schema intermediate")
        connection.execute(f"create table intermediate.int_interactions_deduplicated as from range({len(pairs) or 7})")
        connection.execute("create table intermediate.int_interactions_selected (user_id varchar, item_id varchar)")
        if pairs:
            connection.executemany("insert into intermediate.int_interactions_selected values (?, ?)", pairs)
    assert why_nothing_is_left(SimpleNamespace(dataset="Shop", warehouse=warehouse), said) == expected
