"""Collisions: every identifier is unique, prefixes stay, and the assignment is the cheapest one."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set

from ml.codes.codes import Codes
from ml.codes.collisions import resolve_collisions, with_unique_codes
from ml.codes.equal_rows import collisions_of
from ml.codes.recipe import load_codes_recipes
from ml.codes.trie import Trie

SIZES = (3, 4)


@st.composite
def crowded(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest codes of items that crowd, popularity, and the distances of all last codes."""
    items = draw(st.integers(1, 30))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    distances = random.random((items, SIZES[1])) + random.integers(0, 3, SIZES[1])
    values = np.column_stack([random.integers(0, SIZES[0], items) ** 2 // 2, distances.argmin(axis=1)])
    return values.astype(np.uint8), random.integers(0, 4, items), distances


def _greedy(values: np.ndarray, distances: np.ndarray) -> dict[int, float]:
    """Total distance by prefix where items choose one after another, for prefixes that are not too full."""
    totals: dict[int, float] = {}
    for prefix in np.unique(values[:, 0]):
        items = np.flatnonzero(values[:, 0] == prefix)
        if len(items) > SIZES[1]:
            continue
        free, totals[int(prefix)] = list(range(SIZES[1])), 0.0
        for item in items:
            best = min(free, key=lambda code, item=item: distances[item, code])
            free.remove(best)
            totals[int(prefix)] += distances[item, best]
    return totals


@settings(deadline=None)
@given(crowded())
def test_identifiers_are_unique_and_prefixes_stay(case):
    values, popularity, distances = case
    for costs in (None, lambda items: distances[items]):
        found = resolve_collisions(values, SIZES, popularity, costs)
        Trie.of(found.values)  # two equal identifiers would be an error
        assert np.array_equal(found.values[:, 0], values[:, 0])
        assert (found.values < np.array(found.book_sizes)).all()
        assert found.before == collisions_of(values)
        assert found.items_moved == (found.values[:, 1] != values[:, 1]).sum()
        if costs is None:
            assert found.items_moved == 0
            assert (found.items_numbered > 0) == (found.before["items_in_collisions"] > 0)
        assert len(found.book_sizes) == (3 if found.items_numbered else 2)


@settings(deadline=None)
@given(crowded())
def test_the_total_distance_is_at_most_that_of_a_greedy_assignment(case):
    values, popularity, distances = case
    found = resolve_collisions(values, SIZES, popularity, lambda items: distances[items]).values
    for prefix, total in _greedy(values, distances).items():
        items = np.flatnonzero(values[:, 0] == prefix)
        assert len(set(found[items, 1].tolist())) == len(items)
        assert distances[items, found[items, 1]].sum() <= total + 1e-9


@settings(deadline=None)
@given(crowded())
def test_prefixes_without_a_collision_and_too_full_ones_keep_their_codes(case):
    values, popularity, distances = case
    found = resolve_collisions(values, SIZES, popularity, lambda items: distances[items]).values
    for prefix in np.unique(values[:, 0]):
        items = np.flatnonzero(values[:, 0] == prefix)
        if len(set(values[items, 1].tolist())) == len(items) or len(items) > SIZES[1]:
            assert np.array_equal(found[items, :2], values[items])


@settings(deadline=None)
@given(crowded())
def test_the_further_book_is_in_the_order_of_popularity(case):
    values, popularity, _ = case
    found = resolve_collisions(values, SIZES, popularity, None)
    if not found.items_numbered:
        return
    for row in np.unique(values, axis=0):
        items = np.flatnonzero((values == row).all(axis=1))
        expected = sorted(items, key=lambda item: (-popularity[item], item))
        assert found.values[expected, 2].tolist() == list(range(len(items)))


def test_one_book_is_one_prefix():
    distances = np.array([[0.0, 5.0, 9.0], [1.0, 2.0, 9.0], [0.5, 9.0, 9.0]])
    values = np.zeros((3, 1), dtype=np.uint8)
    found = resolve_collisions(values, (3,), np.zeros(3), lambda items: distances[items])
    cheapest = min(sum(distances[range(3), order]) for order in permutations(range(3)))
    assert sorted(found.values[:, 0]) == [0, 1, 2]
    assert distances[range(3), found.values[:, 0]].sum() == cheapest


def test_only_codes_with_a_cost_are_given_out():
    values = np.zeros((3, 2), dtype=np.uint8)
    found = resolve_collisions(values, (9, 9), np.array([1, 5, 1]), lambda items: np.zeros((len(items), 2)))
    assert found.book_sizes == (9, 9, 3)
    assert found.values.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 2]]


def test_a_further_book_of_more_than_a_byte():
    found = resolve_collisions(np.zeros((300, 2), dtype=np.uint8), (4, 4), np.zeros(300), None)
    assert found.values.dtype == np.uint16
    assert found.book_sizes == (4, 4, 300)
    assert found.values[:, 2].tolist() == list(range(300))


def test_more_equal_codes_than_a_book_can_number_are_an_error(monkeypatch):
    monkeypatch.setattr("ml.codes.collisions.LARGEST_BOOK", 2)
    with pytest.raises(ValueError, match="3 items share all of their codes, and a further book can number at most 2"):
        resolve_collisions(np.zeros((3, 2), dtype=np.uint8), (4, 4), np.zeros(3), None)


def test_no_item_has_no_collision():
    found = resolve_collisions(np.zeros((0, 2), dtype=np.uint8), (4, 4), np.zeros(0), None)
    assert found.values.shape == (0, 2)
    assert found.before == {"distinct_codes": 0, "items_in_collisions": 0, "largest_collision": 0}


def test_a_prefix_that_is_too_large_to_assign_is_numbered(monkeypatch):
    monkeypatch.setattr("ml.codes.collisions._MOST_CELLS", 8)
    found = resolve_collisions(np.zeros((3, 1), dtype=np.uint8), (3,), np.zeros(3), lambda items: np.eye(3)[items])
    assert (found.items_moved, found.items_numbered) == (0, 3)


def test_codes_say_what_was_done():
    training_set = made_up_training_set()
    values = np.column_stack([np.arange(40) % 2, np.arange(40) // 4]).astype(np.uint8)
    codes = Codes(values, {"name": "made up", "books": 2, "book_sizes": [2, 16], "seed": 4}, {"made": 1})
    found = with_unique_codes(codes, training_set)
    assert found.method == {
        "name": "made up",
        "seed": 4,
        "books": 3,
        "book_sizes": [2, 16, 2],
        "collisions": "resolved",
        "numbering_book": True,
    }
    assert found.report["made"] == 1
    assert found.report["items_in_collisions"] == 0
    assert found.report["before_collisions_were_resolved"]["items_in_collisions"] == 40
    assert (found.report["items_moved"], found.report["items_numbered"]) == (0, 40)


def test_codes_with_distances_are_moved_in_their_last_book():
    training_set = made_up_training_set()
    values = np.zeros((40, 2), dtype=np.uint8)
    distances = np.random.default_rng(0).random((40, 64))
    codes = Codes(values, {"books": 2, "book_sizes": [2, 64]}, last_distances=lambda items: distances[items])
    found = with_unique_codes(codes, training_set)
    assert found.book_sizes == (2, 64)
    assert not found.method["numbering_book"]
    assert (found.report["items_moved"], found.report["items_numbered"]) == ((found.values[:, 1] > 0).sum(), 0)


def test_the_codes_before_are_kept_for_the_report(tmp_path):
    training_set = made_up_training_set()
    values = np.zeros((40, 2), dtype=np.uint8)
    found = with_unique_codes(Codes(values, {"books": 2, "book_sizes": [2, 64]}), training_set)
    found.save(tmp_path)
    loaded = Codes.load(tmp_path)
    assert loaded.values_before is not None
    np.testing.assert_array_equal(loaded.values_before, values)
    assert loaded.digest() == found.digest() == replace(found, values_before=None).digest()


def test_a_recipe_resolves_collisions_where_it_says_so():
    training_set = made_up_training_set()
    allowed = replace(load_codes_recipes()["random"], book_sizes=(4, 4))
    resolved = replace(allowed, collisions="resolved")
    assert allowed.digest() != resolved.digest()
    before, after = allowed.assign(training_set), resolved.assign(training_set)
    assert before.report["items_in_collisions"] > 0
    assert load_codes_recipes()["graph"].assign(training_set).last_distances is None
    assert np.array_equal(after.values[:, :2], before.values)
    assert Trie.of(after.values).paths.shape == (40, 3)


def test_recipes_of_before_keep_their_digest():
    """Digests of before collisions were a key: what is made from these recipes stays valid."""
    found = {name: load_codes_recipes()[name].digest()[:16] for name in ("svd", "bpr", "random")}
    assert found == {"svd": "712c646b405b9a74", "bpr": "824879590d8801bf", "random": "b2395c18e2ca1a18"}
