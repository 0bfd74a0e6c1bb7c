"""Quantised items: exact top-k by both methods against a full sort, scores and gradients against the table, sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from ml.data.sequences import Sequences
from ml.models.item_embeddings import (
    DenseItemEmbedding,
    JointProductQuantisedItemEmbedding,
    _SumOfPartialScores,
    embedding_sizes,
)
from ml.retrieval import pruning as quantised_pruning
from ml.retrieval.pqtopk import QuantisedCatalogue, _sums
from ml.retrieval.top_k import exclude_seen, tie_break_order, top_k

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def small_pieces(monkeypatch):
    """Chunks and samples so small that a made-up catalogue has many of them."""
    monkeypatch.setattr("ml.retrieval.pqtopk._ITEMS_AT_ONCE", 7)
    monkeypatch.setattr(quantised_pruning, "_SAMPLE", 16)
    monkeypatch.setattr(quantised_pruning, "_LARGEST_SHARE", 100.0)


def _catalogue(items: int, books: int, width: int = 3, seed: int = 0, levels: int = 0) -> QuantisedCatalogue:
    """``levels`` above 0: weights are that many small integers, so that many scores are equal."""
    random = np.random.default_rng(seed)
    codes = random.integers(256, size=(items, books), dtype=np.uint8)
    shape = (books, 256, width)
    centroids = random.integers(levels, size=shape) if levels else random.normal(size=shape)
    return QuantisedCatalogue(codes, centroids.astype(np.float32), tie_break_order(items, seed + 1))


def _clustered(items: int, dimensions: int, books: int = 8) -> tuple[QuantisedCatalogue, np.ndarray]:
    """Items of a group have near codes, near codes have near vectors, and each of the 20 states wants some group."""
    random = np.random.default_rng(0)
    factors = random.normal(size=(200, books))[random.integers(200, size=items)]
    factors += 0.2 * random.normal(size=factors.shape)
    codes = (factors.argsort(axis=0).argsort(axis=0) * 256 // items).astype(np.uint8)
    # random Fourier features of a code: the product of two vectors falls with the distance of their codes
    frequencies = random.normal(scale=6, size=(books, 1, dimensions // books))
    phases = random.uniform(0, 2 * np.pi, size=frequencies.shape)
    centroids = np.cos(np.linspace(-1, 1, 256)[None, :, None] * frequencies + phases)
    rows = codes[random.integers(items, size=20)]
    states = np.concatenate([centroids[book][rows[:, book]] for book in range(books)], axis=1)
    return QuantisedCatalogue(codes, centroids), states.astype(np.float32)


def _brute_force(catalogue: QuantisedCatalogue, states, k, order, excluded=None):
    scores = catalogue.scores(states)
    if excluded is not None:
        exclude_seen(scores, excluded)
    return top_k(scores, k, order)


@pytest.mark.parametrize("books", [1, 2, 3, 8])
def test_scores_are_added_in_the_stated_order(books):
    random = np.random.default_rng(books)
    codes = random.integers(256, size=(40, books), dtype=np.uint8)
    centroids = random.normal(size=(books, 256, 5)).astype(np.float32)
    state = random.normal(size=(1, books * 5)).astype(np.float32)
    found = QuantisedCatalogue(codes, centroids).scores(state)[0]
    partial = np.einsum("bw,bcw->bc", state.reshape(books, 5), centroids)
    for item in range(40):
        parts = [partial[book, codes[item, book]] for book in range(books)]
        pairs = [parts[i] + parts[i + 1] if i + 1 < books else parts[i] for i in range(0, books, 2)]
        total = pairs[0]
        for pair in pairs[1:]:
            total = total + pair
        assert found[item] == total


def test_scores_equal_those_of_the_embedding():
    embedding = JointProductQuantisedItemEmbedding(
        np.random.default_rng(0).integers(256, size=(90, 4), dtype=np.uint8), 24, 0.3
    )
    states = torch.randn(5, 24)
    catalogue = QuantisedCatalogue.from_embedding(embedding)
    table = embedding(torch.arange(90))
    torch.testing.assert_close(torch.from_numpy(catalogue.scores(states.numpy())), (states @ table.T).detach())


@pytest.mark.parametrize("method", ["pqtopk", "pruned"])
@given(
    items=st.integers(1, 120),
    books=st.integers(1, 5),
    k=st.integers(1, 130),
    levels=st.sampled_from([0, 1, 2, 3]),
    seed=st.integers(0, 1000),
    share_excluded=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_methods_equal_a_full_sort(method, small_pieces, items, books, k, levels, seed, share_excluded):
    catalogue = _catalogue(items, books, seed=seed, levels=levels)
    random = np.random.default_rng(seed)
    states = random.normal(size=(3, books * 3)).astype(np.float32)
    if levels:
        states = np.sign(states)
    excluded = None
    if share_excluded:
        rows = [np.flatnonzero(random.random(items) < share_excluded) for _ in range(3)]
        excluded = Sequences.from_lists([np.repeat(row, 2)[::-1] for row in rows])
    found = catalogue.top_k(states, k, method, excluded)
    expected = _brute_force(catalogue, states, k, tie_break_order(items, seed + 1), excluded)
    assert np.array_equal(found.items, expected.items)
    assert np.array_equal(found.scores, expected.scores)
    assert found.items.dtype == expected.items.dtype
    assert found.scores.dtype == expected.scores.dtype


def test_pruning_prunes_and_holds_what_is_best(small_pieces):
    """The test above would pass if pruning always gave up; it does not, and what it leaves out is worse."""
    pruned = 0
    for seed in range(60):
        catalogue = _catalogue(300, 4, seed=seed, levels=(0, 3)[seed % 2])
        state = np.random.default_rng(seed).normal(size=12).astype(np.float32)
        barred = np.arange(0, 300, 11)
        sums = _sums([of_book[0] for of_book in catalogue._partial_scores(state[None])])
        visited = quantised_pruning.could_be_best(sums, catalogue._columns, catalogue._index, 3, barred)
        if visited is None:
            continue
        assert not np.isin(visited, barred).any()
        scores = catalogue.scores(state[None])[0][catalogue._order]
        scores[barred] = -np.inf
        left = np.setdiff1d(np.arange(300), visited)
        pruned += len(left) > 100
        assert scores[left].max() < np.sort(scores)[-3]
    assert pruned > 10


@pytest.mark.parametrize("k", [1, 10, 200])
def test_pruning_visits_few_items_of_a_large_catalogue(k):
    catalogue, states = _clustered(40_000, 256)
    found, all_scored = catalogue.top_k(states, k, "pruned"), catalogue.top_k(states, k, "pqtopk")
    expected = _brute_force(catalogue, states, k, tie_break_order(40_000))
    for ranking in (found, all_scored):
        assert np.array_equal(ranking.items, expected.items)
        assert np.array_equal(ranking.scores, expected.scores)
    if k > 100:
        return  # so many of the catalogue's items are no few
    nothing = np.empty(0, dtype=np.int64)
    shares = []
    for state in states:
        visited = quantised_pruning.could_be_best(
            _sums([of_book[0] for of_book in catalogue._partial_scores(state[None])]),
            catalogue._columns,
            catalogue._index,
            k,
            nothing,
        )
        shares.append(1.0 if visited is None else len(visited) / 40_000)
    assert np.median(shares) < 0.1


def test_where_all_scores_are_equal_the_tie_order_is_the_ranking():
    order = tie_break_order(10_000, 5)
    catalogue = QuantisedCatalogue(np.zeros((10_000, 2), dtype=np.uint8), np.ones((2, 256, 4), dtype=np.float32), order)
    states = np.ones((1, 8), dtype=np.float32)
    excluded = Sequences.from_lists([order[[0, 2]]])
    for method in ("pqtopk", "pruned"):
        assert catalogue.top_k(states, 4, method).items.tolist() == [order[:4].tolist()]
        assert catalogue.top_k(states, 3, method, excluded).items.tolist() == [order[[1, 3, 4]].tolist()]


def test_a_row_is_ranked_alike_alone_and_among_others():
    catalogue, states = _clustered(5000, 32)
    together = catalogue.top_k(states, 7)
    for row in range(len(states)):
        alone = catalogue.top_k(states[row : row + 1], 7, "pruned")
        assert np.array_equal(alone.items[0], together.items[row])
        assert np.array_equal(alone.scores[0], together.scores[row])


def test_memory():
    catalogue, states = _clustered(50_000, 512)
    memory = catalogue.memory
    assert memory.codes == 50_000 * 8
    assert memory.tie_order == 50_000 * 8
    assert memory.centroids == 256 * 512 * 4
    assert memory.inverted_index == 0
    assert memory.dense == 50_000 * 512 * 4
    catalogue.top_k(states[:1], 10, "pruned")
    with_index = catalogue.memory
    assert with_index.inverted_index == catalogue._index.nbytes > 50_000 * 4 * 4
    assert with_index.total == memory.total + with_index.inverted_index
    assert with_index.share_of_dense < 1 / 20


def test_catalogue_errors():
    codes, centroids = np.zeros((5, 2), dtype=np.uint8), np.zeros((2, 256, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="uint8"):
        QuantisedCatalogue(codes.astype(np.int64), centroids)
    with pytest.raises(ValueError, match="centroids"):
        QuantisedCatalogue(codes, centroids[:1])
    with pytest.raises(ValueError, match="tie order of 4"):
        QuantisedCatalogue(codes, centroids, np.arange(4))
    with pytest.raises(ValueError, match="permutation"):
        QuantisedCatalogue(codes, centroids, np.array([0, 1, 2, 3, 3]))
    with pytest.raises(ValueError, match="0 items"):
        QuantisedCatalogue(codes[:0], centroids)
    catalogue, states = QuantisedCatalogue(codes, centroids), np.ones((1, 6), dtype=np.float32)
    with pytest.raises(ValueError, match="k must"):
        catalogue.top_k(states, 0)
    with pytest.raises(ValueError, match="method"):
        catalogue.top_k(states, 1, "dense")
    with pytest.raises(ValueError, match=r"\[rows, 6\]"):
        catalogue.top_k(states[:, :4], 1)
    with pytest.raises(ValueError, match="2 rows"):
        catalogue.top_k(states, 1, excluded=Sequences.from_lists([[], []]))
    with pytest.raises(ValueError, match="0 to 4"):
        catalogue.top_k(states, 1, excluded=Sequences.from_lists([[5]]))
    with pytest.raises(ValueError, match="finite"):
        QuantisedCatalogue(codes, np.full_like(centroids, np.nan)).top_k(states, 1)


@pytest.mark.parametrize("candidates", [3, 700])
def test_shared_scores_and_gradients_equal_those_of_the_table(candidates):
    """On both sides of the number of candidates from which partial scores are looked up."""
    torch.manual_seed(0)
    random = np.random.default_rng(1)
    embedding = JointProductQuantisedItemEmbedding(random.integers(256, size=(900, 4), dtype=np.uint8), 12, 0.5)
    states = torch.randn(9, 12, requires_grad=True)
    chosen = torch.from_numpy(random.integers(900, size=candidates))
    weights = torch.randn(9, candidates)
    found, expected = embedding.score_shared(states, chosen), states @ embedding(chosen).T
    torch.testing.assert_close(found, expected)
    wanted = (states, embedding.centroids)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), wanted),
        torch.autograd.grad((expected * weights).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("at_once", [4, 1000])
def test_gradients_of_looked_up_sums_equal_finite_differences(at_once, monkeypatch):
    monkeypatch.setattr("ml.models.item_embeddings._CANDIDATES_AT_ONCE", at_once)
    codes = torch.from_numpy(np.random.default_rng(0).integers(256, size=(11, 2), dtype=np.uint8))
    codes[3] = codes[7]
    partial = torch.randn(512, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: _SumOfPartialScores.apply(values, codes), partial)


def test_sizes_beside_the_dense_model():
    class Model(nn.Module):
        def __init__(self, first: nn.Module, second: nn.Module) -> None:
            super().__init__()
            self.first, self.second, self.other = first, second, nn.Linear(10, 3, bias=False)

    codes = np.zeros((1000, 4), dtype=np.uint8)
    quantised = [JointProductQuantisedItemEmbedding(codes, 64, 0.1) for _ in range(2)]
    sizes = embedding_sizes(Model(*quantised))
    assert sizes["embeddings"] == 2
    assert sizes["embedding_parameters"] == 2 * 256 * 64
    assert sizes["embedding_bytes"] == 2 * (256 * 64 * 4 + 1000 * 4)
    assert sizes["dense_embedding_parameters"] == 2 * 1000 * 64
    assert sizes["dense_embedding_bytes"] == 2 * 1000 * 64 * 4
    assert sizes["share_of_dense_bytes"] == sizes["embedding_bytes"] / sizes["dense_embedding_bytes"]
    assert sizes["model_parameters"] == sizes["embedding_parameters"] + 30
    assert sizes["checkpoint_bytes"] == sizes["embedding_bytes"] + 120
    assert sizes["dense_checkpoint_bytes"] == sizes["dense_embedding_bytes"] + 120
    shared = embedding_sizes(Model(quantised[0], quantised[0]))
    assert shared["embeddings"] == 1
    assert shared["checkpoint_bytes"] == 256 * 64 * 4 + 1000 * 4 + 120
    dense = DenseItemEmbedding(1000, 64, 0.1)
    assert embedding_sizes(Model(dense, dense))["share_of_dense_bytes"] == 1
    with pytest.raises(ValueError, match="Linear"):
        embedding_sizes(nn.Linear(2, 2))
