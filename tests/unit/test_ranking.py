"""ml/ranking.py: exactness, the tie rule, exclusion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml.data.training_set import Sequences
from ml.ranking import exclude_seen, tie_break_order, top_k
from ml.recommender import NO_ITEM

SCORES = st.sampled_from([-np.inf, -2.5, -1.0, -0.0, 0.0, 1e-40, 0.5, 1.0, 3.0, np.inf]) | st.floats(
    width=32, allow_nan=False
)


@given(
    scores=st.tuples(st.integers(1, 4), st.integers(1, 30)).flatmap(
        lambda shape: arrays(np.float32, shape, elements=SCORES)
    ),
    k=st.integers(1, 40),
    seed=st.integers(0, 5),
)
@settings(max_examples=200, deadline=None)
def test_top_k_equals_a_full_sort(scores, k, seed):
    rows, items = scores.shape
    order = tie_break_order(items, seed)
    rank_in_ties = np.argsort(order)
    before = scores.copy()
    found = top_k(scores, k, order)
    assert np.array_equal(scores, before)
    assert found.items.shape == found.scores.shape == (rows, k)
    assert found.items.dtype == np.int32
    assert found.scores.dtype == np.float32
    for row in range(rows):
        expected = sorted(
            (item for item in range(items) if scores[row, item] > -np.inf),
            key=lambda item: (-float(scores[row, item]), rank_in_ties[item]),
        )[:k]
        assert found.items[row].tolist() == expected + [NO_ITEM] * (k - len(expected))
        assert np.array_equal(found.scores[row, : len(expected)], scores[row, expected])
        assert np.all(found.scores[row, len(expected) :] == -np.inf)


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
    scores = np.random.default_rng(0).integers(0, 5, (37, 50)).astype(np.float32)
    order = tie_break_order(50)
    whole = top_k(scores, 7, order)
    monkeypatch.setattr("ml.ranking._KEYS_AT_ONCE", 120)
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
    with pytest.raises(ValueError, match="at least 1"):
        top_k(np.zeros((1, 3), dtype=np.float32), 0, order)
    with pytest.raises(ValueError, match="tie order"):
        top_k(np.zeros((1, 4), dtype=np.float32), 1, order)
    with pytest.raises(ValueError, match="histories"):
        exclude_seen(np.zeros((1, 4), dtype=np.float32), Sequences.from_lists([[0], [1]]))
