"""Known mistakes of constrained decoding, one test each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from generation_toys import PrefixMlp, TableScorer, item_scores, random_scorer
from torch import Tensor

from ml.codes.trie import Trie
from ml.data.sequences import Sequences
from ml.generation.beam_search import Beams, PrefixScorer, TrieTensors, beam_search
from ml.generation.exact import exact_log_probabilities
from ml.generation.lists import generated_lists
from ml.recommender import NO_ITEM
from ml.retrieval.top_k import tie_break_order


def search(scorer: PrefixScorer, trie: Trie, width: int) -> Beams:
    return beam_search(scorer, TrieTensors.of(trie), width)


class NormalisedAmongChildren:
    """Logits of nodes, made log-probabilities of the children that a call names."""

    def __init__(self, logits: list[np.ndarray]) -> None:
        self.table, self.rows = TableScorer(logits), len(logits[0])

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        logits = self.table.log_probabilities(level, children, exists, beams)
        return logits.masked_fill(~exists, -torch.inf).log_softmax(-1).nan_to_num(neginf=-torch.inf)


class OfType:
    """Another scorer's log-probabilities in another floating-point type."""

    def __init__(self, scorer: TableScorer, kind: torch.dtype) -> None:
        self.scorer, self.rows, self.kind = scorer, scorer.rows, kind

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        return self.scorer.log_probabilities(level, children, exists, beams).to(self.kind)


class Counted:
    """Counts what another scorer is asked for.

    Attributes:
        existing: children that exist, of each call.
    """

    @property
    def calls(self) -> int:
        return len(self.existing)

    def __init__(self, scorer: TableScorer) -> None:
        self.scorer, self.rows = scorer, scorer.rows
        self.existing: list[int] = []

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        self.existing.append(int(exists.sum()))
        return self.scorer.log_probabilities(level, children, exists, beams)


def test_a_missing_beam_has_no_children() -> None:
    # of three prefixes one has probability 0, so one of three beams is missing
    trie = Trie.of(np.array([[0, 0], [1, 0], [1, 1], [2, 0]]))
    half = np.float32(np.log(0.5))
    scorer = Counted(
        TableScorer([np.array([[half, half, -np.inf]], np.float32), np.array([[0, half, half, 0]], np.float32)])
    )
    beams = search(scorer, trie, 3)
    assert scorer.existing == [3, 3]
    assert sorted(beams.items[0].tolist()) == [0, 1, 2]


def test_a_root_with_fewer_children_than_the_beam_gives_no_missing_beam_another_life() -> None:
    # two children of the root, one of which has one child: nine of ten beams are missing at first
    trie = Trie.of(np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [1, 1, 0]]))
    scorer = random_scorer(trie, 3, seed=0)
    beams = search(scorer, trie, 10)
    for row, items in enumerate(beams.items):
        assert sorted(items[:4].tolist()) == [0, 1, 2, 3]
        assert (items[4:] == NO_ITEM).all()
        assert (beams.scores[row, 4:] == -torch.inf).all()


def test_log_probabilities_among_children_leave_no_mass_on_codes_that_do_not_exist() -> None:
    values = np.unique(np.random.default_rng(1).integers(0, 5, size=(30, 3)), axis=0)
    trie, users = Trie.of(values), torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    logits = [np.random.default_rng(2).normal(size=(2, nodes)).astype(np.float32) for nodes in trie.nodes]
    # a scorer can normalise among the children it is given, since these are always all of them
    for at_once in (None, 1):
        among_children = exact_log_probabilities(NormalisedAmongChildren(logits), TrieTensors.of(trie), at_once)
        np.testing.assert_allclose(among_children.double().exp().sum(1), 1, atol=1e-5)
    beams = search(NormalisedAmongChildren(logits), trie, 4)
    np.testing.assert_allclose(beams.scores, among_children.gather(1, beams.items), atol=1e-6)
    # one that normalises over all codes loses the others' share, and is not corrected: scores are sums of what it gave
    with torch.inference_mode():
        over_all_codes = exact_log_probabilities(PrefixMlp(trie).scorer(users), TrieTensors.of(trie))
    assert (over_all_codes.double().exp().sum(1) < 0.99).all()


def test_a_code_that_follows_one_prefix_does_not_follow_another_that_ends_alike() -> None:
    # code 1 is followed by 2 after 0, and by 3 after 5: a table of successors of the last code would mix them up
    trie = Trie.of(np.array([[0, 1, 2], [5, 1, 3]]))
    scorer = random_scorer(trie, 2, seed=0)
    beams = search(scorer, trie, 4)
    assert [sorted(items[:2].tolist()) for items in beams.items] == [[0, 1]] * 2
    assert (beams.items[:, 2:] == NO_ITEM).all()
    np.testing.assert_array_equal(
        beams.scores[:, :2], item_scores(scorer, trie)[np.arange(2)[:, None], beams.items[:, :2]]
    )


def test_a_beam_never_returns_an_item_twice_nor_fewer_than_it_could() -> None:
    values = np.unique(np.random.default_rng(3).integers(0, 6, size=(150, 3)), axis=0)
    trie = Trie.of(values)
    for width in (1, 2, 7, 50, trie.items):
        # all scores equal, which is where clones of a beam would not be noticed
        beams = search(random_scorer(trie, 2, seed=0, distinct=1), trie, width)
        for items in beams.items.tolist():
            assert len(set(items)) == width
            assert NO_ITEM not in items


def test_seen_items_are_left_out_at_the_leaves_and_their_siblings_stay() -> None:
    trie = Trie.of(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]))
    tables = [np.log(np.array([[0.9, 0.1]])), np.log(np.array([[0.6, 0.4, 0.5, 0.5]]))]
    scorer = TableScorer([table.astype(np.float32) for table in tables])
    found, _ = generated_lists(
        scorer.take,
        TrieTensors.of(trie),
        Sequences.from_lists([[0]]),
        2,
        True,
        np.ones(4, dtype=np.int64),
        width=1,
        widest=1,
    )
    assert found.items[0, 0] == 1
    assert 0 not in found.items[0]


def test_equal_scores_follow_the_order_of_ties_also_where_the_beam_is_cut() -> None:
    # 27 items of equal probability: a beam that cut by node number would lose the first ones of the order
    values = np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)
    trie, order = Trie.of(values), tie_break_order(27)
    for width in (3, 5, 27):
        beams = search(random_scorer(trie, 1, seed=0, distinct=1), trie, width)
        assert beams.items[0, 0] == order[0]
        place = np.argsort(order)[beams.items[0]]
        assert (np.diff(place) > 0).all()
    np.testing.assert_array_equal(beams.items[0], order)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_log_probabilities_of_any_precision_are_added_in_single_precision(kind: torch.dtype) -> None:
    # -120,000 is beyond the range of float16, and in bfloat16 one part in 256 is lost with each addition
    trie = Trie.of(np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]]))
    tables = [np.array([[-40_000]]), np.array([[-40_000, -41_000]]), np.array([[-40_000, -40_064, -1]])]
    scorer = TableScorer([table.astype(np.float32) for table in tables])
    rounded = TableScorer([torch.from_numpy(table).to(kind).float().numpy() for table in map(np.float32, tables)])
    beams = search(OfType(scorer, kind), trie, 3)
    assert beams.scores.dtype == torch.float32
    assert torch.isfinite(beams.scores).all()
    np.testing.assert_array_equal(beams.scores[0], item_scores(rounded, trie)[0, beams.items[0]])


def test_items_that_share_an_identifier_are_refused_rather_than_hidden() -> None:
    with pytest.raises(ValueError, match=r"items 0 and 2 both have \(1, 2\)"):
        Trie.of(np.array([[1, 2], [0, 0], [1, 2]]))


def test_no_end_token_is_needed_even_after_chains_of_single_children() -> None:
    # item 0 is decided at the first code, item 1 and 2 only at the last
    trie = Trie.of(np.array([[0, 4, 4, 4], [1, 0, 0, 0], [1, 0, 0, 1]]))
    scorer = Counted(random_scorer(trie, 2, seed=0))
    beams = search(scorer, trie, 3)
    assert scorer.calls == 4
    assert [sorted(items.tolist()) for items in beams.items] == [[0, 1, 2]] * 2
    np.testing.assert_allclose(beams.scores.double().exp().sum(1), 1, atol=1e-6)


def test_one_code_at_two_levels_is_two_nodes() -> None:
    trie = Trie.of(np.array([[2, 2], [2, 0], [0, 2]]))
    tables = [np.array([[-1.0, -2.0]]), np.array([[-0.25, -3.0, -0.5]])]
    scorer = TableScorer([table.astype(np.float32) for table in tables])
    beams = search(scorer, trie, 3)
    # (0, 2): -1 - .25, (2, 2): -2 - .5, (2, 0): -2 - 3
    assert beams.items[0].tolist() == [2, 0, 1]
    assert beams.scores[0].tolist() == [-1.25, -2.5, -5.0]


def test_the_scorer_is_called_once_a_level_for_all_users_and_beams() -> None:
    values = np.unique(np.random.default_rng(4).integers(0, 9, size=(300, 3)), axis=0)
    trie = Trie.of(values)
    scorer = Counted(random_scorer(trie, 64, seed=0))
    first = search(scorer, trie, 20)
    assert scorer.calls == 3
    assert torch.equal(first.items, search(scorer, trie, 20).items)


def test_a_new_item_needs_no_new_weights_and_leaves_other_scores_as_they_are() -> None:
    values = np.unique(np.random.default_rng(5).integers(0, 4, size=(30, 3)), axis=0)
    values = values[~(values == [3, 0, 2]).all(axis=1)]
    # every code occurs elsewhere, so that no table grows
    extended = np.concatenate([values, [[3, 0, 2]]])
    before, after = Trie.of(values), Trie.of(extended)
    for item, codes in enumerate(values.tolist()):
        path = after.paths[item]
        assert [int(of_level[node]) for of_level, node in zip(after.codes, path, strict=True)] == codes
        assert after.leaf_items[path[-1]] == item
    users = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        old = exact_log_probabilities(PrefixMlp(before).scorer(users), TrieTensors.of(before))
        new = exact_log_probabilities(PrefixMlp(after).scorer(users), TrieTensors.of(after))
        beams = search(PrefixMlp(after).scorer(users), after, after.items)
    np.testing.assert_allclose(new[:, :-1], old, rtol=0, atol=1e-6)
    assert torch.isfinite(new[:, -1]).all()
    assert (beams.items == len(values)).any(dim=1).all()
