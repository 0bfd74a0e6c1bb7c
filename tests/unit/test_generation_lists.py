"""Recommendations from beam search: seen items, certificates, wider beams, short catalogues."""

from __future__ import annotations

import numpy as np
import pytest
from generation_toys import TableScorer, identifiers, item_scores, random_scorer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ml.codes.trie import Trie
from ml.data.sequences import Sequences
from ml.generation.beam_search import TrieTensors
from ml.generation.lists import ListCounts, generated_lists
from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.top_k import exclude_seen as hide_seen
from ml.retrieval.top_k import tie_break_order, top_k


def lists(
    scorer: TableScorer,
    trie: Trie,
    histories: Sequences,
    k: int,
    exclude_seen: bool,
    widths: tuple[int, int] = (50, 400),
    counts: np.ndarray | None = None,
) -> tuple[Recommendations, ListCounts]:
    counts = np.arange(trie.items) if counts is None else counts
    return generated_lists(scorer.take, TrieTensors.of(trie), histories, k, exclude_seen, counts, *widths)


def expected_lists(
    scorer: TableScorer, trie: Trie, histories: Sequences, k: int, exclude_seen: bool
) -> Recommendations:
    scores = item_scores(scorer, trie)
    if exclude_seen:
        hide_seen(scores, histories)
    return top_k(scores, k, tie_break_order(trie.items))


def random_histories(items: int, rows: int, seed: int, longest: int = 6) -> Sequences:
    random = np.random.default_rng(seed)
    return Sequences.from_lists([random.integers(0, items, size=random.integers(0, longest + 1)) for _ in range(rows)])


cases = given(
    values=identifiers(),
    seed=st.integers(0, 2**16),
    distinct=st.sampled_from([None, 1, 2]),
    k=st.integers(1, 15),
    width=st.integers(1, 8),
    exclude_seen=st.booleans(),
)


@cases
@settings(deadline=None)
def test_without_a_limit_every_list_is_exact(
    values: np.ndarray, seed: int, distinct: int | None, k: int, width: int, exclude_seen: bool
) -> None:
    trie = Trie.of(values)
    scorer, histories = random_scorer(trie, 5, seed, distinct), random_histories(trie.items, 5, seed)
    found, counts = lists(scorer, trie, histories, k, exclude_seen, (width, 1000))
    expected = expected_lists(scorer, trie, histories, k, exclude_seen)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.items.dtype == np.int32
    assert (counts.lists, counts.certified, counts.filled) == (5, 5, 0)


@cases
@settings(deadline=None, max_examples=200)
def test_certified_lists_are_exact_and_all_are_lists(
    values: np.ndarray, seed: int, distinct: int | None, k: int, width: int, exclude_seen: bool
) -> None:
    trie = Trie.of(values)
    scorer, histories = random_scorer(trie, 1, seed, distinct), random_histories(trie.items, 1, seed)
    found, counts = lists(scorer, trie, histories, k, exclude_seen, (width, width))
    expected = expected_lists(scorer, trie, histories, k, exclude_seen)
    if counts.certified:
        np.testing.assert_array_equal(found.items, expected.items)
        np.testing.assert_array_equal(found.scores, expected.scores)
    # as long as the exact list, no item twice, none that was seen, its own scores
    there = found.items[0] != NO_ITEM
    np.testing.assert_array_equal(there, expected.items[0] != NO_ITEM)
    items = found.items[0][there]
    assert len(items) == len(set(items.tolist()))
    assert not exclude_seen or not set(items.tolist()) & set(histories[0].tolist())
    np.testing.assert_array_equal(found.scores[0][there], item_scores(scorer, trie)[0, items])
    assert (np.diff(found.scores[0][there]) <= 0).all()
    assert counts.repeated == 0


def wide_trie() -> Trie:
    return Trie.of(np.unique(np.random.default_rng(0).integers(0, 8, size=(300, 3)), axis=0))


def test_wider_beams_certify_more_lists_and_are_counted() -> None:
    trie = wide_trie()
    scorer, histories = random_scorer(trie, 40, seed=1), random_histories(trie.items, 40, seed=2)
    certified = []
    for widest in (10, 12, 160):
        _, counts = lists(scorer, trie, histories, 10, False, (10, widest))
        certified.append(counts.certified)
        assert counts.repeated == (0 if widest == 10 else 40 - certified[0])
    assert 0 < certified[0] < certified[1] < certified[2]


def test_the_width_is_doubled_up_to_the_widest() -> None:
    trie = wide_trie()
    # all items score the same, so no list is certified before all are found
    scorer = random_scorer(trie, 1, seed=1, distinct=1)
    widths = []

    class Recorded:
        rows = 1

        def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
            if level == 2:
                widths.append(children.shape[1])
            return scorer.log_probabilities(level, children, exists, beams)

    # five different items were seen, one of them twice
    histories, counts = Sequences.from_lists([[0, 1, 2, 3, 4, 4]]), np.ones(trie.items, dtype=np.int64)
    for widest, expected in ((5, [10]), (15, [10, 15]), (50, [10, 20, 40, 50])):
        widths.clear()
        generated_lists(lambda _: Recorded(), TrieTensors.of(trie), histories, 5, True, counts, 5, widest)
        assert widths == expected


def test_a_list_that_only_equals_what_was_cut_is_not_certified() -> None:
    # prefixes of .5 and two of .25; the items of the first score as much as those of the others
    values = np.array([[0, 0], [0, 1], [1, 0], [2, 0]])
    tables = [np.log([[0.5, 0.25, 0.25]]), np.log([[0.5, 0.5, 1, 1]])]
    scorer = TableScorer([table.astype(np.float32) for table in tables])
    order = tie_break_order(4)
    # the item that comes first among equals is below a prefix that is cut
    trie = Trie.of(values[np.argsort(order[[3, 1, 2, 0]])])
    found, counts = lists(scorer, trie, Sequences.from_lists([[]]), 1, False, (1, 1))
    assert found.items[0, 0] != order[0]
    assert counts.certified == 0
    found, counts = lists(scorer, trie, Sequences.from_lists([[]]), 1, False, (1, 4))
    assert found.items[0, 0] == order[0]
    assert counts.certified == 1


def test_a_list_does_not_depend_on_the_other_rows() -> None:
    trie = wide_trie()
    scorer, histories = (
        random_scorer(trie, 20, seed=1, distinct=2),
        random_histories(trie.items, 20, seed=2, longest=30),
    )
    widths = (4, 8)
    together, _ = lists(scorer, trie, histories, 5, True, widths)
    for row in range(20):
        only = np.array([row])
        alone, _ = lists(scorer.take(only), trie, histories.take(only), 5, True, widths)
        np.testing.assert_array_equal(alone.items[0], together.items[row])
        np.testing.assert_array_equal(alone.scores[0], together.scores[row])


def test_a_history_longer_than_the_beam_still_leaves_k_items() -> None:
    trie = wide_trie()
    scorer = random_scorer(trie, 1, seed=3)
    best = expected_lists(scorer, trie, Sequences.from_lists([[]]), 60, False).items[0]
    # the best items were all seen, some of them twice
    histories = Sequences.from_lists([np.concatenate([best[:50], best[:10]])])
    found, _ = lists(scorer, trie, histories, 10, True, (5, 1000))
    np.testing.assert_array_equal(found.items[0], best[50:])


def test_lists_end_where_the_catalogue_does() -> None:
    trie = Trie.of(np.array([[0, 1], [2, 0], [0, 0]]))
    scorer = random_scorer(trie, 2, seed=0)
    histories = Sequences.from_lists([[1], [0, 1, 2]])
    found, counts = lists(scorer, trie, histories, 5, True)
    assert sorted(found.items[0, :2].tolist()) == [0, 2]
    assert (found.items[0, 2:] == NO_ITEM).all()
    assert (found.items[1] == NO_ITEM).all()
    assert (found.scores[found.items == NO_ITEM] == -np.inf).all()
    assert counts == ListCounts(lists=2, certified=2)


def test_one_item_is_a_catalogue() -> None:
    trie = Trie.of(np.array([[7, 0, 3]]))
    scorer = random_scorer(trie, 2, seed=0)
    found, _ = lists(scorer, trie, Sequences.from_lists([[0], [0]]), 2, False)
    assert found.items.tolist() == [[0, NO_ITEM]] * 2
    assert found.scores.tolist() == [[0, -np.inf]] * 2


def test_no_histories_give_no_lists() -> None:
    trie = wide_trie()
    found, counts = lists(random_scorer(trie, 0, 0), trie, Sequences.from_lists([]), 3, True)
    assert found.items.shape == (0, 3)
    assert counts == ListCounts()


def test_lists_with_too_few_possible_items_are_filled_by_popularity() -> None:
    trie = Trie.of(np.array([[0], [1], [2], [3], [4]]))
    third = np.float32(np.log(1 / 3))
    impossible = -np.inf
    scorer = TableScorer([np.array([[third, impossible, impossible, third * 2, impossible]] * 2, dtype=np.float32)])
    histories = Sequences.from_lists([[4], [0, 3]])
    found, counts = lists(scorer, trie, histories, 4, True, counts=np.array([0, 2, 5, 0, 9]))
    # items 0 and 3 are possible; of the others 2 is more popular than 1, and 4 was seen in the first history
    assert found.items.tolist() == [[0, 3, 2, 1], [4, 2, 1, NO_ITEM]]
    assert found.scores[0, :2].tolist() == [third, third * 2]
    assert (np.diff(found.scores[0]) < 0).all()
    assert np.isfinite(found.scores[1, :3]).all()
    assert (np.diff(found.scores[1]) < 0).all()
    assert counts == ListCounts(lists=2, certified=2, filled=2)


def test_counts_add_up() -> None:
    assert ListCounts(3, 2, 1, 0) + ListCounts(lists=1, filled=1) == ListCounts(4, 2, 1, 1)


def test_lists_of_no_item_and_beams_of_no_prefix_are_refused() -> None:
    trie = wide_trie()
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        lists(random_scorer(trie, 1, 0), trie, Sequences.from_lists([[]]), 0, True)
    with pytest.raises(ValueError, match="the width must be at least 1, not 0"):
        lists(random_scorer(trie, 1, 0), trie, Sequences.from_lists([[]]), 3, True, (0, 10))
