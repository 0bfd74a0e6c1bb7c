"""ml/retrieval/quantised_top_k.py: the lists and scores of scoring every item, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_toys import GBCE, ITEMS, fitted, ring_training_set, toy_recipe

from ml.data.sequences import Sequences
from ml.models.item_embeddings import JointProductQuantisedItemEmbedding
from ml.recommender import Recommendations
from ml.retrieval import quantised_top_k
from ml.retrieval.pqtopk import QuantisedCatalogue
from ml.retrieval.quantised_top_k import QuantisedTopK, pays
from ml.retrieval.top_k import exclude_seen, tie_break_order, top_k

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _embedding(codes: np.ndarray, centroids: np.ndarray) -> JointProductQuantisedItemEmbedding:
    embedding = JointProductQuantisedItemEmbedding(codes, centroids.shape[0] * centroids.shape[2], 1.0)
    with torch.no_grad():
        embedding.centroids.copy_(torch.from_numpy(centroids))
    return embedding


@torch.inference_mode()
def _by_all_scores(embedding, states, k, excluded=None) -> Recommendations:
    scores = embedding.score_all(states).numpy().copy()
    if excluded is not None:
        exclude_seen(scores, excluded)
    return top_k(scores, k, tie_break_order(embedding.items))


def _assert_same(found: Recommendations, expected: Recommendations) -> None:
    assert np.array_equal(found.items, expected.items)
    assert np.array_equal(found.scores, expected.scores)
    assert (found.items.dtype, found.scores.dtype) == (expected.items.dtype, expected.scores.dtype)


@pytest.mark.parametrize("spare", [1, 4, 32])
@pytest.mark.parametrize("method", ["pqtopk", "pruned"])
@given(
    items=st.integers(1, 120),
    books=st.integers(1, 5),
    rows=st.integers(1, 4),
    k=st.integers(1, 130),
    codes_in_use=st.sampled_from([2, 20, 256]),
    levels=st.sampled_from([0, 2, 3]),
    seed=st.integers(0, 1000),
    share_excluded=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lists_and_scores_are_those_of_all_scores(
    monkeypatch, spare, method, items, books, rows, k, codes_in_use, levels, seed, share_excluded
):
    """With few codes items share all of theirs, and with few ``levels`` of weights different codes score the same."""
    monkeypatch.setattr(quantised_top_k, "_SPARE", spare)
    random = np.random.default_rng(seed)
    codes = random.integers(codes_in_use, size=(items, books), dtype=np.uint8)
    shape = (books, 256, 3)
    centroids = (random.integers(levels, size=shape) if levels else random.normal(size=shape)).astype(np.float32)
    states = torch.from_numpy(random.normal(size=(rows, books * 3)).astype(np.float32))
    states = states.sign() if levels else states
    excluded = None
    if share_excluded:
        excluded = Sequences.from_lists([np.flatnonzero(random.random(items) < share_excluded) for _ in range(rows)])
    embedding = _embedding(codes, centroids)
    found = QuantisedTopK(embedding).top_k(states, k, excluded, method)
    _assert_same(found, _by_all_scores(embedding, states, k, excluded))


def _cancelling(items: int = 400) -> tuple[JointProductQuantisedItemEmbedding, torch.Tensor]:
    """Partial scores of which large ones cancel out, so that what is left depends on the order of the additions."""
    random = np.random.default_rng(0)
    books = 6
    centroids = random.normal(size=(books, 256, 1)).astype(np.float32)
    centroids[1] += 1e7
    centroids[4] -= 1e7
    return _embedding(random.integers(256, size=(items, books), dtype=np.uint8), centroids), torch.ones(1, books)


@pytest.mark.parametrize("k", [10, 100])
def test_lists_are_the_same_where_the_order_of_additions_decides_them(k):
    embedding, states = _cancelling()
    expected = _by_all_scores(embedding, states, k)
    other = QuantisedCatalogue.from_embedding(embedding).top_k(states.numpy(), k)
    assert not np.array_equal(other.items, expected.items)  # or this test would show nothing
    _assert_same(QuantisedTopK(embedding).top_k(states, k), expected)


def test_few_rows_need_all_scores(monkeypatch):
    """Rows that are certain are not scored again in full, rows that are not are."""
    scored = []
    by_all_scores = QuantisedTopK._by_all_scores

    def counted(self, partial, k, excluded):
        scored.append(len(partial))
        return by_all_scores(self, partial, k, excluded)

    monkeypatch.setattr(QuantisedTopK, "_by_all_scores", counted)
    random = np.random.default_rng(0)
    codes = random.integers(256, size=(3000, 4), dtype=np.uint8)
    embedding = _embedding(codes, random.normal(size=(4, 256, 4)).astype(np.float32))
    QuantisedTopK(embedding).top_k(torch.randn(20, 16), 10)
    assert scored == []
    embedding, states = _cancelling()
    QuantisedTopK(embedding).top_k(states, 10)
    assert scored == [1]


def test_weights_are_those_of_the_moment():
    embedding, states = _cancelling()
    ranking = QuantisedTopK(embedding)
    with torch.no_grad():
        embedding.centroids.normal_()
    _assert_same(ranking.top_k(states, 5), _by_all_scores(embedding, states, 5))


def test_errors():
    embedding, states = _cancelling()
    with pytest.raises(ValueError, match="k must"):
        QuantisedTopK(embedding).top_k(states, 0)
    with pytest.raises(ValueError, match="excluded items must be of this catalogue"):
        QuantisedTopK(embedding).top_k(states, 1, Sequences.from_lists([[400]]))
    with torch.no_grad():
        embedding.centroids.fill_(torch.nan)
    with pytest.raises(ValueError, match="not a number"):
        QuantisedTopK(embedding).top_k(states, 1)


def test_an_infinite_score_is_ranked_as_it_is_elsewhere():
    embedding, states = _cancelling()
    with torch.no_grad():
        embedding.centroids[0, 7] = torch.inf
    _assert_same(QuantisedTopK(embedding).top_k(states, 5), _by_all_scores(embedding, states, 5))


def test_it_pays_for_a_single_state_and_for_large_catalogues():
    assert pays(1, 1000, threads=1)
    assert pays(1, 1000, threads=2)
    assert not pays(2, 12_000, threads=1)
    assert pays(1000, 1_000_000, threads=1)
    assert not pays(1000, 1_000_000, threads=2)


@pytest.fixture(scope="module")
def recommender():
    return fitted(toy_recipe(GBCE, "svd", training={"max_epochs": 2}), ring_training_set())


def _counting(monkeypatch) -> list[int]:
    """Number of states of each call of :meth:`QuantisedTopK.top_k` from now on."""
    calls: list[int] = []
    ranked = QuantisedTopK.top_k

    def counted(self, states, *arguments):
        calls.append(len(states))
        return ranked(self, states, *arguments)

    monkeypatch.setattr(QuantisedTopK, "top_k", counted)
    return calls


@pytest.mark.parametrize("k", [1, 7, ITEMS, ITEMS + 5])
@pytest.mark.parametrize("exclude", [False, True])
def test_recommend_gives_the_same_either_way(monkeypatch, recommender, k, exclude):
    random = np.random.default_rng(k)
    rows = [random.integers(ITEMS, size=length) for length in (0, 3, 1, 12, 0, 5, 30)]
    histories = Sequences.from_lists([*rows, np.arange(ITEMS)])
    calls = _counting(monkeypatch)
    expected = recommender.recommend(histories, k, exclude)
    assert calls == []
    monkeypatch.setattr("ml.training.sequential_recommender.pays", lambda *sizes: True)
    found = recommender.recommend(histories, k, exclude)
    assert sum(calls) == 6
    _assert_same(found, expected)


def test_a_single_history_is_ranked_by_pqtopk(monkeypatch, recommender):
    calls = _counting(monkeypatch)
    history = Sequences.from_lists([[], [3, 4]])
    found = recommender.recommend(history, 10, exclude_seen=True)
    assert calls == [1]
    monkeypatch.setattr("ml.training.sequential_recommender.pays", lambda *sizes: False)
    _assert_same(found, recommender.recommend(history, 10, exclude_seen=True))


def test_dense_items_are_not(monkeypatch):
    calls = _counting(monkeypatch)
    dense = fitted(toy_recipe(training={"max_epochs": 1}), ring_training_set(40))
    dense.recommend(Sequences.from_lists([[3, 4]]), 10, exclude_seen=True)
    assert calls == []
