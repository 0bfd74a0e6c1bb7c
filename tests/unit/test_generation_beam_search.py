"""Beam search over identifiers: exactness, ties, and the traps of constrained decoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from generation_toys import PrefixMlp, TableScorer, identifiers, item_scores, random_scorer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ml.codes.trie import Trie
from ml.generation.beam_search import Beams, PrefixScorer, TrieTensors, beam_search
from ml.recommender import NO_ITEM
from ml.retrieval.top_k import tie_break_order, top_k


def search(scorer: PrefixScorer, trie: Trie, width: int) -> Beams:
    return beam_search(scorer, TrieTensors.of(trie), width)


@given(identifiers(), st.integers(0, 2**16), st.sampled_from([None, 1, 2]))
@settings(deadline=None)
def test_a_beam_as_wide_as_the_catalogue_ranks_every_item(values: np.ndarray, seed: int, distinct: int | None) -> None:
    trie = Trie.of(values)
    scorer = random_scorer(trie, 3, seed, distinct)
    beams = search(scorer, trie, trie.items)
    expected = top_k(item_scores(scorer, trie), trie.items, tie_break_order(trie.items))
    np.testing.assert_array_equal(beams.items, expected.items)
    np.testing.assert_array_equal(beams.scores, expected.scores)
    assert (beams.cut == -torch.inf).all()


@given(identifiers(), st.integers(0, 2**16), st.sampled_from([None, 1, 2]), st.integers(1, 45), st.integers(1, 12))
@settings(deadline=None, max_examples=300)
def test_lists_above_the_best_cut_score_are_exact(
    values: np.ndarray, seed: int, distinct: int | None, width: int, k: int
) -> None:
    trie = Trie.of(values)
    scorer = random_scorer(trie, 4, seed, distinct)
    beams = search(scorer, trie, width)
    scores = item_scores(scorer, trie)
    expected = top_k(scores, min(k, width, trie.items), tie_break_order(trie.items))
    depth = expected.items.shape[1]
    certified = (beams.scores[:, depth - 1] > beams.cut).numpy()
    np.testing.assert_array_equal(beams.items[certified, :depth], expected.items[certified])
    # and the bound holds: no missing item has a higher score
    for row in range(4):
        missing = np.setdiff1d(np.arange(trie.items), beams.items[row])
        assert scores[row, missing].max(initial=-np.inf) <= beams.cut[row]


@given(identifiers(), st.integers(0, 2**16), st.integers(1, 45))
@settings(deadline=None)
def test_each_item_is_found_once_with_its_own_score(values: np.ndarray, seed: int, width: int) -> None:
    trie = Trie.of(values)
    scorer = random_scorer(trie, 3, seed, 2)
    beams = search(scorer, trie, width)
    assert beams.items.shape == beams.scores.shape == (3, width)
    for items, scores, all_scores in zip(beams.items, beams.scores, item_scores(scorer, trie), strict=True):
        found = items[items != NO_ITEM].numpy()
        # every prefix has an item below it, so as many are found as prefixes are kept
        assert len(found) == len(set(found)) == min(width, trie.items)
        np.testing.assert_array_equal(scores[: len(found)], all_scores[found])
        assert (scores[len(found) :] == -torch.inf).all()
        assert (np.diff(scores[: len(found)]) <= 0).all()


def test_rows_do_not_depend_on_the_batch_and_its_padding() -> None:
    random = np.random.default_rng(0)
    # very unequal numbers of children
    values = np.unique(np.minimum(random.geometric(0.3, size=(200, 3)) - 1, 20), axis=0)
    trie = Trie.of(values)
    scorer = random_scorer(trie, 30, seed=1, distinct=2)
    together = search(scorer, trie, 6)
    for row in range(30):
        alone = search(scorer.take(np.array([row])), trie, 6)
        assert torch.equal(alone.items[0], together.items[row])
        assert torch.equal(alone.scores[0], together.scores[row])
        assert alone.cut[0] == together.cut[row]


def test_caches_follow_the_beams() -> None:
    random = np.random.default_rng(3)
    values = np.unique(random.integers(0, 4, size=(60, 3)), axis=0)
    trie = Trie.of(values)
    model = PrefixMlp(trie)
    users = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for width in (5, trie.items):
            beams = search(model.scorer(users), trie, width)
            for user, items, scores in zip(users, beams.items, beams.scores, strict=True):
                expected = [model.item_log_probability(user, values[item].tolist()) for item in items.tolist()]
                np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


class Recorded:
    """Passes on to another scorer and keeps what it was asked."""

    def __init__(self, scorer: TableScorer) -> None:
        self.scorer, self.rows = scorer, scorer.rows
        self.calls: list[tuple[int, Tensor, Tensor, Tensor | None]] = []

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        self.calls.append((level, children, exists, beams))
        return self.scorer.log_probabilities(level, children, exists, beams)


def test_a_scorer_is_given_all_children_of_each_kept_prefix_and_where_it_came_from() -> None:
    values = np.array([[0, 0], [0, 1], [0, 2], [1, 0], [2, 0], [2, 4]])
    trie = Trie.of(values)
    scorer = Recorded(random_scorer(trie, 2, seed=0))
    search(scorer, trie, 2)
    (level, children, exists, beams), (next_level, next_children, next_exists, next_beams) = scorer.calls
    assert (level, next_level) == (0, 1)
    assert children.tolist() == [[[0, 1, 2]]] * 2
    assert exists.all()
    assert beams is None
    # prefixes of level 1 continue the only prefix of level 0, the empty one
    assert next_beams is not None
    assert next_beams.tolist() == [[0, 0]] * 2
    assert next_children.max() < trie.nodes[1]
    for row in range(2):
        for of_prefix, there in zip(next_children[row], next_exists[row], strict=True):
            (parent,) = set(trie.parents[1][of_prefix[there]].tolist())
            assert of_prefix[there].tolist() == np.flatnonzero(trie.parents[1] == parent).tolist()


def test_items_of_probability_zero_are_not_found() -> None:
    values = np.array([[0, 0], [0, 1], [1, 0], [2, 0]])
    trie = Trie.of(values)
    half = np.float32(np.log(0.5))
    scorer = TableScorer([np.array([[half, half, -np.inf]], np.float32), np.array([[0, -np.inf, 0, 0]], np.float32)])
    beams = search(scorer, trie, 4)
    assert set(beams.items[0].tolist()) == {0, 2, NO_ITEM}
    assert beams.scores[0].tolist() == [half, half, -np.inf, -np.inf]
    assert beams.cut[0] == -np.inf


@pytest.mark.parametrize(("value", "message"), [(np.nan, "NaN"), (0.5, "is 0.5, above 0")])
def test_what_is_no_log_probability_is_refused(value: float, message: str) -> None:
    trie = Trie.of(np.array([[0], [1]]))
    scorer = TableScorer([np.array([[-1.0, value]], dtype=np.float32)])
    with pytest.raises(ValueError, match=message):
        search(scorer, trie, 2)


def test_a_log_probability_that_rounding_lifts_above_zero_lifts_no_item_above_its_prefix() -> None:
    trie = Trie.of(np.array([[0, 0], [1, 0]]))
    scorer = TableScorer([np.array([[-1, -1.00001]], np.float32), np.array([[0, 0.0001]], np.float32)])
    beams = search(scorer, trie, 1)
    assert beams.items.tolist() == [[0]]
    assert search(scorer, trie, 2).scores[0, 1] == beams.cut[0] == np.float32(-1.00001)


def test_a_width_below_one_is_refused() -> None:
    trie = Trie.of(np.array([[0], [1]]))
    scorer = random_scorer(trie, 1, seed=0)
    with pytest.raises(ValueError, match="width of at least 1"):
        search(scorer, trie, 0)
