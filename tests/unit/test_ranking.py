"""ml/retrieval/top_k.py: exactness, the tie rule, exclusion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml.data.sequences import Sequences
from ml.recommender import NO_ITEM
from ml.retrieval.top_k import exclude_seen, tie_break_order, top_k

SCORES = st.sampled_from([-np.inf, -2.5, -1.0, -0.0, 0.0, 1e-40, 0.5, 1.0, 3.0, np.inf]) | st.floats(
    width=32, allow_nan=False
)


def ranked_by_a_full_sort(scores, k, order):
    """Items of each row by falling score, ties by their place in the order; what is scored -inf left out."""
    place = np.argsort(order)
    lists = np.full((len(scores), k), NO_ITEM)
    for row, row_scores in enumerate(scores.astype(np.float64)):
        ranked = np.lexsort((place, -row_scores))[: np.count_nonzero(row_scores > -np.inf)][:k]
        lists[row, : len(ranked)] = ranked
    return lists


def check(scores, k, order):
    before = scores.copy()
    found = top_k(scores, k, order)
    assert np.array_equal(scores, before, equal_nan=True)
    assert found.items.shape == found.scores.shape == (len(scores), k)
    assert found.items.dtype == np.int32
    assert found.scores.dtype == np.float32
    expected = ranked_by_a_full_sort(scores, k, order)
    assert np.array_equal(found.items, expected)
    kept = np.where(expected == NO_ITEM, np.float32(-np.inf), np.take_along_axis(scores, expected, axis=1))
    assert np.array_equal(found.scores, kept)
    assert not np.signbit(found.scores[found.scores == 0]).any()


@given(
    scores=st.tuples(st.integers(1, 4), st.integers(1, 60)).flatmap(
        lambda shape: arrays(np.float32, shape, elements=SCORES)
    ),
    k=st.integers(1, 70),
    seed=st.integers(0, 5),
    whole=st.sampled_from([0, 1024]),
)
@settings(max_examples=300, deadline=None)
def test_top_k_equals_a_full_sort(scores, k, seed, whole):
    """In small catalogues, ranked whole as they are, and in columns as large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml.retrieval.top_k._RANKED_WHOLE", whole)
        check(scores, k, tie_break_order(scores.shape[1], seed))


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 5),
    items=st.integers(1_025, 3_000),
    k=st.sampled_from([1, 2, 10, 50, 150, 1_100]),
    levels=st.sampled_from([1, 2, 5, 100, 100_000]),
    most_equal=st.sampled_from([0.0, 0.9, 0.999]),
    excluded=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    transposed=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_top_k_of_many_items_equals_a_full_sort(seed, rows, items, k, levels, most_equal, excluded, transposed):
    """From scores that all differ to scores that are nearly all equal, with none, half or all items excluded."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(-levels, levels, (rows, items)).astype(np.float32)
    scores[generator.random((rows, items)) < most_equal] = generator.integers(-1, 2)
    scores[generator.random((rows, items)) < excluded] = -np.inf
    if transposed:
        scores = np.asfortranarray(scores)
    check(scores, k, tie_break_order(items, 3))


def test_ties_far_down_the_order_are_found():
    """The items tied at the end of a list may be the last ones of the tie order."""
    items, k = 5_000, 10
    order = tie_break_order(items)
    scores = np.zeros((2, items), dtype=np.float32)
    scores[:, order[: items - 40]] = -1.0
    scores[0, order[:3]] = 2.0
    check(scores, k, order)
    assert top_k(scores, k, order).items[0].tolist() == [*order[:3], *order[items - 40 :][:7]]


def test_ties_favour_no_item():
    """Over many tie orders, each of 20 equally scored items is first about equally often."""
    scores = np.zeros((1, 20), dtype=np.float32)
    winners = [int(top_k(scores, 1, tie_break_order(20, seed)).items[0, 0]) for seed in range(2000)]
    counts = np.bincount(winners, minlength=20)
    assert counts.min() > 60
    assert counts.max() < 140


def test_tie_order_is_the_same_everywhere():
    assert tie_break_order(8).tolist() == tie_break_order(8).tolist()
    assert sorted(tie_break_order(8).tolist()) == list(range(8))


def test_chunks_do_not_change_the_result(monkeypatch):
    scores = np.random.default_rng(0).integers(0, 5, (37, 1_500)).astype(np.float32)
    order = tie_break_order(1_500)
    whole = top_k(scores, 7, order)
    monkeypatch.setattr("ml.retrieval.top_k._BYTES_AT_ONCE", 30_000)
    chunked = top_k(scores, 7, order)
    assert np.array_equal(whole.items, chunked.items)
    assert np.array_equal(whole.scores, chunked.scores)


def test_exclude_seen_removes_the_history_alone():
    scores = np.zeros((3, 4), dtype=np.float32)
    exclude_seen(scores, Sequences.from_lists([[1, 1, 3], [], [0]]))
    assert np.isneginf(scores).tolist() == [[False, True, False, True], [False] * 4, [True] + [False] * 3]


def test_errors():
    order = tie_break_order(3)
    with pytest.raises(ValueError, match="NaN"):
        top_k(np.array([[0, np.nan, 1]], dtype=np.float32), 2, order)
    many = np.zeros((2, 4_321), dtype=np.float32)
    many[1, 4_320] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        top_k(many, 2, tie_break_order(4_321))
    with pytest.raises(ValueError, match="at least 1"):
        top_k(np.zeros((1, 3), dtype=np.float32), 0, order)
    with pytest.raises(ValueError, match="tie order"):
        top_k(np.zeros((1, 4), dtype=np.float32), 1, order)
    with pytest.raises(ValueError, match="histories"):
        exclude_seen(np.zeros((1, 4), dtype=np.float32), Sequences.from_lists([[0], [1]]))
