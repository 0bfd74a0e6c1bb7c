"""New items: they get codes of their own near similar items, and no other item's codes change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set

from ml.codes.codes import Codes
from ml.codes.collisions import with_unique_codes
from ml.codes.new_items import carry_over, with_new_items
from ml.codes.recipe import load_codes_recipes
from ml.codes.residual_kmeans import ResidualKMeansSettings
from ml.codes.trie import Trie
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet


def _catalogue(item_ids: np.ndarray) -> TrainingSet:
    ids = np.array([b"%06d" % item for item in item_ids])
    return replace(made_up_training_set(), item_ids=ids, train=Sequences.from_lists([[0, 0]]), item_text=None)


def _vectors(items: int, seed: int = 0, spread: float = 0.3) -> np.ndarray:
    random = np.random.default_rng(seed)
    return 4 * np.eye(5)[np.arange(items) % 5] + spread * random.normal(size=(items, 5))


def _codes(vectors: np.ndarray, sizes: tuple[int, ...] = (5, 4, 4)) -> Codes:
    training_set = _catalogue(np.arange(len(vectors)))
    return with_unique_codes(ResidualKMeansSettings().assign(training_set, sizes, 0, vectors), training_set)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 40), st.integers(0, 1000), st.sampled_from([(5, 4, 4), (5, 2), (6,)]))
def test_old_codes_stay_and_all_are_unique(old, new, seed, sizes):
    codes = _codes(_vectors(old), sizes)
    found = with_new_items(codes, _vectors(new, seed))
    assert found.items == old + new
    assert np.array_equal(found.values[:old, : codes.books], codes.values)
    assert not found.values[:old, codes.books :].any(), "a further book says nothing of the old items"
    Trie.of(found.values)
    assert found.method.get("numbering_book") == (found.books > len(sizes))
    assert all(new >= old for old, new in zip(codes.book_sizes, found.book_sizes, strict=False))
    again = with_new_items(found, _vectors(3, seed + 1))
    Trie.of(again.values)
    assert np.array_equal(again.values[: old + new, : found.books], found.values)


def test_codes_before_collisions_were_resolved_are_of_the_old_catalogue_alone():
    codes = _codes(_vectors(30))
    found = with_new_items(replace(codes, values_before=codes.values), _vectors(5, seed=9))
    assert found.values_before is None


def test_a_new_item_gets_the_first_code_of_similar_ones_and_a_free_last_code():
    codes = _codes(_vectors(30))
    found = with_new_items(codes, _vectors(5, seed=9))
    # item i of either lies near the i-th axis, modulo 5
    assert np.array_equal(found.values[30:, 0], codes.values[:5, 0])
    copies = with_new_items(codes, _vectors(30)[:2])
    assert np.array_equal(copies.values[30:, :2], codes.values[:2, :2])
    assert copies.books == 3
    assert (copies.values[30:, 2] != codes.values[:2, 2]).all()


def test_without_a_free_code_new_items_are_numbered():
    codes = _codes(_vectors(10), (1, 10))
    found = with_new_items(codes, _vectors(10)[[3, 3, 4]])
    assert found.book_sizes == (1, 10, 3)
    assert found.values[10:].tolist() == [
        [0, codes.values[3, 1], 1],
        [0, codes.values[3, 1], 2],
        [0, codes.values[4, 1], 1],
    ]


def test_codes_that_may_collide_are_the_nearest():
    vectors = _vectors(20)
    codes = ResidualKMeansSettings().assign(_catalogue(np.arange(20)), (5, 2), 0, vectors)
    found = with_new_items(codes, vectors)
    assert np.array_equal(found.values[20:], codes.values)
    assert found.books == 2


def test_saved_codes_give_new_items_the_same_codes(tmp_path):
    codes = _codes(_vectors(30))
    codes.save(tmp_path)
    found, loaded = with_new_items(codes, _vectors(7, 2)), with_new_items(Codes.load(tmp_path), _vectors(7, 2))
    assert found.digest() == loaded.digest()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.sets(st.integers(0, 60), min_size=1, max_size=50), st.integers(0, 1000))
def test_a_catalogue_with_new_and_lost_items(old, ids, seed):
    codes = _codes(_vectors(old))
    new_ids = np.array(sorted(ids))
    training_set = _catalogue(new_ids)
    old_ids = _catalogue(np.arange(old)).item_ids
    # vectors of another dump: the same, turned
    turned = _vectors(61)[new_ids] @ np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0]
    kept = new_ids < old
    if not kept.any():
        with pytest.raises(ValueError, match=rf"another catalogue: none of their {old} items is in Made_Up"):
            carry_over(codes, old_ids, training_set, turned)
        return
    found = carry_over(codes, old_ids, training_set, turned)
    assert np.array_equal(found.values[kept, : codes.books], codes.values[new_ids[kept]])
    Trie.of(found.values)
    lost = set(map(tuple, codes.values[np.setdiff1d(np.arange(old), new_ids)].tolist()))
    if found.books == codes.books:
        assert not lost & set(map(tuple, found.values[~kept].tolist()))
    counts = (int(kept.sum()), int((~kept).sum()), old - int(kept.sum()))
    assert tuple(found.report[f"items_{what}"] for what in ("kept", "new", "lost")) == counts
    assert found.report["distinct_codes"] == len(new_ids)


def test_new_items_of_another_dump_stand_beside_similar_ones():
    codes = _codes(_vectors(60))
    vectors = _vectors(80) @ np.linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))[0]
    ids = np.arange(10, 80)
    found = carry_over(codes, _catalogue(np.arange(60)).item_ids, _catalogue(ids), vectors[10:])
    first = {item % 5: code for item, code in enumerate(codes.values[:, 0].tolist())}
    assert found.values[50:, 0].tolist() == [first[item % 5] for item in range(60, 80)]
    # and once more, to a third one
    third = carry_over(found, _catalogue(ids).item_ids, _catalogue(np.arange(40, 80)), vectors[40:])
    assert np.array_equal(third.values, found.values[30:])


def test_an_order_of_ids_that_is_not_ascending():
    codes = _codes(_vectors(20))
    shuffled = np.random.default_rng(0).permutation(20)
    moved = replace(codes, values=codes.values[shuffled])
    found = carry_over(moved, _catalogue(shuffled).item_ids, _catalogue(np.arange(20)), _vectors(20))
    assert np.array_equal(found.values, codes.values)


def test_what_cannot_be_extended_is_an_error(monkeypatch):
    training_set = made_up_training_set()
    random = load_codes_recipes()["random"].assign(training_set)
    with pytest.raises(ValueError, match="codes by random have no centroids to place new items by"):
        with_new_items(random, np.zeros((1, 4)))
    with pytest.raises(ValueError, match="codes by random are not sums of centroids"):
        carry_over(random, training_set.item_ids, training_set, np.zeros((40, 4)))
    codes = _codes(_vectors(10))
    with pytest.raises(ValueError, match=r"must be \[new items, 5\], as the centroids, not \[1, 4\]"):
        with_new_items(codes, np.zeros((1, 4)))
    with pytest.raises(ValueError, match="codes of 10 items cannot be those of 40 item ids"):
        carry_over(codes, training_set.item_ids, training_set, np.zeros((40, 5)))
    with pytest.raises(ValueError, match="39 vectors for the 40 items of Made_Up"):
        carry_over(codes, training_set.item_ids[:10], training_set, np.zeros((39, 5)))
    monkeypatch.setattr("ml.codes.new_items.LARGEST_BOOK", 3)
    with pytest.raises(ValueError, match="4 items would share all of their codes, and a further book can number at"):
        with_new_items(_codes(_vectors(1), (1, 1)), np.zeros((3, 5)))
