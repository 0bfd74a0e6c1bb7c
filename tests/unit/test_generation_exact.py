"""Scores of every item by walking the whole prefix tree."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from generation_toys import PrefixMlp, TableScorer, identifiers, item_scores, random_scorer
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.codes.trie import Trie
from ml.generation.beam_search import PrefixScorer, TrieTensors, beam_search
from ml.generation.exact import exact_log_probabilities
from ml.models.item_codes.model import _TreeScorer as TreeScorer
from ml.models.item_codes.prefix_head import PrefixHead
from ml.models.item_codes.prefix_head import PrefixScorer as PrefixHeadScorer
from ml.models.item_codes.tree_head import TreeHead


@given(identifiers(), st.integers(0, 2**16), st.integers(0, 3), st.sampled_from([None, 1, 20]))
@settings(deadline=None)
def test_scores_are_the_sums_along_the_paths(values: np.ndarray, seed: int, rows: int, at_once: int | None) -> None:
    trie = Trie.of(values)
    scorer = random_scorer(trie, rows, seed)
    scores = exact_log_probabilities(scorer, TrieTensors.of(trie), at_once)
    np.testing.assert_array_equal(scores, item_scores(scorer, trie))


@given(identifiers(), st.integers(0, 2**16))
@settings(deadline=None)
def test_probabilities_among_siblings_add_up_to_one(values: np.ndarray, seed: int) -> None:
    trie = Trie.of(values)
    scores = exact_log_probabilities(random_scorer(trie, 3, seed), TrieTensors.of(trie))
    np.testing.assert_allclose(scores.double().exp().sum(dim=1), 1, atol=1e-5)


@pytest.mark.parametrize("at_once", [None, 1])
def test_an_autoregressive_head_gives_each_item_its_teacher_forced_score(at_once: int | None) -> None:
    values = np.unique(np.random.default_rng(5).integers(0, 4, size=(50, 4)), axis=0)
    trie = Trie.of(values)
    model = PrefixMlp(trie)
    users = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        scores = exact_log_probabilities(model.scorer(users), TrieTensors.of(trie), at_once)
        expected = [[model.item_log_probability(user, codes) for codes in values.tolist()] for user in users]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_the_widest_beam_finds_the_same_scores() -> None:
    values = np.unique(np.random.default_rng(6).integers(0, 3, size=(40, 3)), axis=0)
    trie = Trie.of(values)
    model, tensors = PrefixMlp(trie), TrieTensors.of(trie)
    users = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        scores = exact_log_probabilities(model.scorer(users), tensors)
        beams = beam_search(model.scorer(users), tensors, trie.items)
    np.testing.assert_allclose(scores.gather(1, beams.items), beams.scores, rtol=0, atol=1e-6)


def test_an_item_of_probability_zero_scores_minus_infinity() -> None:
    trie = Trie.of(np.array([[0, 0], [0, 1], [1, 0]]))
    half = np.float32(np.log(0.5))
    scorer = TableScorer([np.array([[half, half]], np.float32), np.array([[0, -np.inf, 0]], np.float32)])
    assert exact_log_probabilities(scorer, TrieTensors.of(trie)).tolist() == [[half, -np.inf, half]]


def test_a_score_that_is_not_a_number_is_refused() -> None:
    trie = Trie.of(np.array([[0, 0], [0, 1]]))
    scorer = TableScorer([np.zeros((1, 1), np.float32), np.array([[np.nan, -1]], np.float32)])
    with pytest.raises(ValueError, match="NaN"):
        exact_log_probabilities(scorer, TrieTensors.of(trie))


@pytest.mark.parametrize("head", ["tree", "prefix"])
def test_models_give_the_same_scores_however_the_tree_is_parted(head: Literal["tree", "prefix"]) -> None:
    values = np.unique(np.random.default_rng(7).integers(0, 4, size=(40, 3)), axis=0)
    trie = Trie.of(values)
    torch.manual_seed(0)
    part = TreeHead(trie, 8, 0.5) if head == "tree" else PrefixHead((4, 4, 4), 8, 16, 0.5)
    states, tensors = torch.randn(3, 8), TrieTensors.of(trie)

    def scorer() -> PrefixScorer:
        return TreeScorer(part, states) if isinstance(part, TreeHead) else PrefixHeadScorer(part, states, trie)

    with torch.inference_mode():
        together = exact_log_probabilities(scorer(), tensors)
        parted = exact_log_probabilities(scorer(), tensors, at_once=1)
        beams = beam_search(scorer(), tensors, trie.items)
    np.testing.assert_allclose(parted, together, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together.gather(1, beams.items), beams.scores, rtol=0, atol=1e-5)
    if isinstance(part, TreeHead):
        with torch.inference_mode():
            np.testing.assert_allclose(together, part.score_all(states), rtol=0, atol=1e-5)
