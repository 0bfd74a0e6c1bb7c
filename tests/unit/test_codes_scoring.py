"""Items scored by the sum of what their codes score: PQTopK over any books, against sums of all items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.sequences import Sequences
from ml.models.item_codes.parallel_head import ParallelHead
from ml.retrieval.pqtopk import CodeCatalogue, Method
from ml.retrieval.top_k import exclude_seen, tie_break_order, top_k

pytestmark = pytest.mark.usefixtures("one_torch_thread")

book_sizes = st.lists(st.sampled_from([1, 3, 64, 256, 300, 4096, 65_536]), min_size=1, max_size=5)


def random_codes(items: int, sizes: list[int], seed: int) -> np.ndarray:
    kind = np.uint8 if max(sizes) <= 256 else np.uint16
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, size=items) for size in sizes], axis=1).astype(kind)


def random_scores(rows: int, sizes: list[int], seed: int, levels: int) -> list[np.ndarray]:
    """``levels`` above 0: scores are that many small integers, so that many items score the same."""
    random = np.random.default_rng(seed)
    return [
        (random.integers(0, levels, size=(rows, size)) if levels else random.normal(size=(rows, size))).astype("f4")
        for size in sizes
    ]


def summed(codes: np.ndarray, partial: list[np.ndarray]) -> np.ndarray:
    """Scores of all items in the stated order of additions, float32 ``[rows, items]``."""
    looked_up = [of_book[:, codes[:, book]] for book, of_book in enumerate(partial)]
    parts, book = [], 0
    while book < len(partial):
        pair = partial[book : book + 2]
        if len(pair) == 2 and pair[0].shape[1] * pair[1].shape[1] <= 1 << 16:
            parts.append(looked_up[book] + looked_up[book + 1])
            book += 2
        else:
            parts.append(looked_up[book])
            book += 1
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


@given(
    items=st.integers(1, 150),
    sizes=book_sizes,
    k=st.integers(1, 20),
    levels=st.sampled_from([0, 2]),
    seed=st.integers(0, 1000),
    method=st.sampled_from(["pqtopk", "pruned"]),
)
@settings(deadline=None, max_examples=50)
def test_lists_and_scores_are_those_of_a_full_sort(
    items: int, sizes: list[int], k: int, levels: int, seed: int, method: Method
) -> None:
    codes, partial = random_codes(items, sizes, seed), random_scores(3, sizes, seed, levels)
    excluded = Sequences.from_lists([np.random.default_rng(seed + row).integers(0, items, size=5) for row in range(3)])
    catalogue, expected = CodeCatalogue(codes, sizes), summed(codes, partial)
    np.testing.assert_array_equal(catalogue.scores_by_partial_scores(partial), expected)
    exclude_seen(expected, excluded)
    ranked = top_k(expected, k, tie_break_order(items))
    found = catalogue.top_k_by_partial_scores(partial, k, method, excluded)
    np.testing.assert_array_equal(found.items, ranked.items)
    np.testing.assert_array_equal(found.scores, ranked.scores)


@pytest.mark.parametrize("method", ["pqtopk", "pruned"])
@pytest.mark.parametrize(("books", "size"), [(16, 256), (32, 256), (16, 1024)])
def test_codes_that_a_model_predicts_at_once_are_ranked_as_by_all_scores(method: Method, books: int, size: int) -> None:
    torch.manual_seed(0)
    sizes = [size] * books
    codes = random_codes(9000, sizes, seed=1)
    head = ParallelHead(torch.from_numpy(codes.astype(np.int32)), tuple(sizes), 16, temperature=0.07)
    states = torch.randn(4, 16)
    with torch.inference_mode():
        dense = head.score_all(states).numpy()
        partial = [head._logits(states, book).log_softmax(dim=-1).numpy() for book in range(books)]
    found = CodeCatalogue(codes, sizes).top_k_by_partial_scores(partial, 20, method)
    ranked = top_k(dense, 20, tie_break_order(9000))
    np.testing.assert_allclose(found.scores, ranked.scores, rtol=1e-5)
    # of near-equal scores another may come first: each is scored as the dense sum scores it
    np.testing.assert_allclose(np.take_along_axis(dense, found.items, axis=1), found.scores, rtol=1e-5)
    assert (found.items == ranked.items).mean() > 0.9


def test_a_book_of_one_code_may_stand_beside_the_largest() -> None:
    codes = np.array([[0, 65_535], [0, 0]], dtype=np.uint16)
    partial = [np.array([[0.5]], dtype=np.float32), np.zeros((1, 65_536), dtype=np.float32)]
    partial[1][0, 65_535] = 1
    found = CodeCatalogue(codes, [1, 65_536]).top_k_by_partial_scores(partial, 2)
    assert (found.items.tolist(), found.scores.tolist()) == ([[0, 1]], [[1.5, 0.5]])


def test_what_does_not_fit_is_refused() -> None:
    codes = np.array([[0, 2], [1, 0]], dtype=np.uint8)
    with pytest.raises(ValueError, match="2 books have as many sizes"):
        CodeCatalogue(codes, [2])
    with pytest.raises(ValueError, match="from 1 to 65,536"):
        CodeCatalogue(codes, [2, 65_537])
    with pytest.raises(ValueError, match="not below the sizes"):
        CodeCatalogue(codes, [2, 2])
    with pytest.raises(ValueError, match="uint8 or uint16"):
        CodeCatalogue(codes.astype(np.int64), [2, 3])
    catalogue = CodeCatalogue(codes, [2, 3])
    good = [np.zeros((1, 2), dtype=np.float32), np.zeros((1, 3), dtype=np.float32)]
    for partial in (good[:1], good[::-1], [good[0], np.zeros((2, 3), dtype=np.float32)], []):
        with pytest.raises(ValueError, match=r"partial scores are .* books of \[2, 3\]"):
            catalogue.top_k_by_partial_scores(partial, 1)
    with pytest.raises(ValueError, match="not finite"):
        catalogue.top_k_by_partial_scores([good[0], np.full((1, 3), -np.inf, dtype=np.float32)], 1)
