"""Nearest neighbours, association rules and EASE against their definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from ml.baselines.als import AlternatingLeastSquares
from ml.baselines.association_rules import ConfidenceRules, LiftRules, SupportRules
from ml.baselines.ease import Ease, best_of
from ml.baselines.item_matrix import best_by_sums, history_matrix, strongest
from ml.baselines.nearest_neighbours import ItemNearestNeighbours, UserNearestNeighbours
from ml.baselines.popularity import popularity_order
from ml.baselines.registry import ALWAYS_RUN, BASELINES
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.extras import NEEDED, MissingExtra
from ml.item_graph.graph import places
from ml.recommenders.check_choice import check_recipes
from ml.recommenders.choice import chosen_names

ITEMS = 9
KINDS = [ItemNearestNeighbours, UserNearestNeighbours, SupportRules, ConfidenceRules, LiftRules, Ease]
rows_strategy = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=6), min_size=1, max_size=12)


def _training_set(rows: list[list[int]]) -> TrainingSet:
    none = np.empty(0, dtype=np.int32)
    return TrainingSet(
        dataset="made_up",
        item_ids=np.array([b"%d" % item for item in range(ITEMS)]),
        user_ids=np.array([b"%d" % user for user in range(len(rows))]),
        train=Sequences.from_lists(rows),
        validation_users=none,
        validation_targets=none,
        test_users=none,
        test_targets=none,
    )


def _item_scores(sets: list[set[int]], history: set[int]) -> list[float]:
    users = [sum(item in row for row in sets) for item in range(ITEMS)]
    both = [[sum(a in row and b in row for row in sets) for b in range(ITEMS)] for a in range(ITEMS)]
    return [
        sum(both[a][b] / ((users[a] * users[b]) ** 0.5 + 10) for a in history if a != b and both[a][b])
        for b in range(ITEMS)
    ]


def _user_scores(sets: list[set[int]], history: set[int]) -> list[float]:
    alike = [len(history & row) / (len(history) * len(row)) ** 0.5 if history & row else 0.0 for row in sets]
    return [sum(value for value, row in zip(alike, sets, strict=True) if item in row) for item in range(ITEMS)]


def _rule_scores(measure: str):
    def scores(sets: list[set[int]], history: set[int]) -> list[float]:
        def strength(a: int, b: int) -> float:
            both = sum(a in row and b in row for row in sets)
            first, second = (sum(item in row for row in sets) for item in (a, b))
            if a == b or not both:
                return 0.0
            if measure == "support":
                return both / len(sets)
            if measure == "confidence":
                return both / first
            return both * len(sets) / (first * second) if both >= 2 else 0.0

        return [sum(strength(a, b) for a in history) for b in range(ITEMS)]

    return scores


def _ease_scores(sets: list[set[int]], history: set[int]) -> list[float]:
    """Each column of the weights by a ridge regression on the other items, the problem that equation 8 solves."""
    matrix = np.array([[item in row for item in range(ITEMS)] for row in sets], dtype=float)
    scores = []
    for item in range(ITEMS):
        others = [other for other in range(ITEMS) if other != item]
        gram = matrix[:, others].T @ matrix[:, others] + 100 * np.eye(len(others))
        weights = np.linalg.solve(gram, matrix[:, others].T @ matrix[:, item])
        scores.append(sum(weights[others.index(other)] for other in history if other != item))
    return scores


DEFINITIONS = {
    ItemNearestNeighbours: _item_scores,
    UserNearestNeighbours: _user_scores,
    SupportRules: _rule_scores("support"),
    ConfidenceRules: _rule_scores("confidence"),
    LiftRules: _rule_scores("lift"),
    Ease: _ease_scores,
}


@pytest.mark.parametrize("kind", KINDS)
@given(rows=rows_strategy, asked=rows_strategy, exclude_seen=st.booleans())
def test_scores_are_the_definition_written_out(kind, rows, asked, exclude_seen):
    training_set, histories = _training_set(rows), Sequences.from_lists(asked)
    found = kind().fit(training_set).recommend(histories, ITEMS, exclude_seen)
    sets = [set(row) for row in rows]
    for row, items, scores in zip(asked, found.items, found.scores, strict=True):
        expected = np.array(DEFINITIONS[kind](sets, set(row)))
        kept = [item for item in range(ITEMS) if not (exclude_seen and item in row)]
        assert sorted(items[items >= 0].tolist()) == kept
        np.testing.assert_allclose(scores[: len(kept)], np.sort(expected[kept])[::-1], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(scores[: len(kept)], expected[items[: len(kept)]], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_histories_are_left_as_they_were(kind):
    training_set = _training_set([[5, 3, 3, 1], [8, 2]])
    histories = Sequences.from_lists([[7, 3, 5, 3]])
    kind().fit(training_set).recommend(histories, 4, exclude_seen=True)
    assert histories.items.tolist() == [7, 3, 5, 3]
    assert training_set.train.items.tolist() == [5, 3, 3, 1, 8, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_what_nothing_leads_to_follows_by_popularity(kind):
    training_set = _training_set([[0, 1], [2, 3], [2, 3], [2], [4]])
    found = kind().fit(training_set).recommend(Sequences.from_lists([[], [4]]), ITEMS, exclude_seen=True)
    order = popularity_order(np.bincount(training_set.train.items, minlength=ITEMS))
    assert found.items[0].tolist() == order.tolist()
    assert found.items[1].tolist() == [*order[order != 4], -1]


def test_only_the_strongest_similarities_are_kept():
    matrix = sparse.csr_matrix(np.array([[1.0, 3, 2, 3], [0, 0, 0, 5], [0, 0, 0, 0], [4, 4, 4, 4]]))
    kept = strongest(matrix, 2, np.array([0, 3, 2, 1])).toarray()
    np.testing.assert_array_equal(kept, [[0, 3, 0, 3], [0, 0, 0, 5], [0, 0, 0, 0], [4, 0, 0, 4]])


def test_scores_of_any_size_are_given_back():
    order = np.arange(3)
    scores = sparse.csr_matrix(np.array([[0.0, 5e6, 1e6], [0, 0, 0], [1e-9, 0, 2e-9]]))
    found = best_by_sums(scores, 3, order, None)
    assert found.items.tolist() == [[1, 2, 0], [0, 1, 2], [2, 0, 1]]
    np.testing.assert_allclose(found.scores, [[5e6, 1e6, 0], [0, 0, 0], [2e-9, 1e-9, 0]], rtol=1e-6)


def test_repeated_items_count_once():
    assert history_matrix(Sequences.from_lists([[2, 1, 2], []]), 3).toarray().tolist() == [[0, 1, 1], [0, 0, 0]]


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=20), st.integers(1, 25))
def test_dense_scores_are_sorted_and_ties_follow_the_order(values, k):
    scores = np.array([values], dtype=np.float32)
    order = np.random.default_rng(len(values)).permutation(len(values))
    place = places(order)
    expected = sorted(range(len(values)), key=lambda item: (-(scores[0, item] + 0.0), place[item]))
    found = best_of(scores.copy(), k, order, place, None)
    assert found.items[0, : len(values)].tolist() == expected[:k]
    assert (found.items[0, len(values) :] == -1).all()


def test_in_a_large_catalogue_the_popular_items_have_weights(monkeypatch):
    monkeypatch.setattr(Ease, "most_items", 3)
    made = Ease().fit(_training_set([[0, 1, 2], [0, 1], [0, 2], [3, 4]]))
    assert made.known.tolist()[:3] == [0, 1, 2]
    assert made.weights.shape == (3, 3)
    found = made.recommend(Sequences.from_lists([[1]]), ITEMS, exclude_seen=False)
    assert found.items[0, 0] == 0


def test_vectors_of_histories_solve_the_least_squares_written_out():
    """Equation 4 of the paper, with one weight for each item of the catalogue."""
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 64)).astype(np.float32)
    made = AlternatingLeastSquares()
    made.vectors, made.counts = vectors, np.arange(ITEMS)[::-1].copy()
    asked = [[3, 1, 3], [], [8, 0, 2, 5]]
    found = made.recommend(Sequences.from_lists(asked), ITEMS, exclude_seen=False)
    for row, items, scores in zip(asked, found.items, found.scores, strict=True):
        liked = np.isin(np.arange(ITEMS), row)
        weights = np.where(liked, 40.0, 1.0)
        wide = vectors.astype(np.float64)
        user = np.linalg.solve((wide.T * weights) @ wide + 0.1 * np.eye(64), wide.T @ (weights * liked))
        np.testing.assert_allclose(scores, (wide @ user)[items], rtol=1e-4, atol=1e-5)
        assert (np.diff(scores) <= 0).all()
    assert found.items[1].tolist() == list(range(ITEMS))


def test_vectors_of_histories_are_those_of_implicit():
    implicit = pytest.importorskip("implicit.cpu.als", reason="the extra 'als' is not installed")
    training_set = _training_set([[0, 1, 2], [0, 1], [0, 2, 5], [3, 4], [7, 8, 4]])
    made = AlternatingLeastSquares(seed=2).fit(training_set)
    theirs = implicit.AlternatingLeastSquares(factors=64, regularization=0.1, alpha=40.0)
    theirs.item_factors = made.vectors
    matrix = history_matrix(training_set.train, ITEMS).astype(np.float32)
    users = theirs.recalculate_user(np.arange(len(training_set.train)), matrix)
    found = made.recommend(training_set.train, ITEMS, exclude_seen=False)
    expected = np.take_along_axis(users @ made.vectors.T, found.items.astype(np.int64), axis=1)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("named", [["als"], ["als", "item_knn"]])
def test_als_is_refused_where_its_extra_is_not_installed(named, monkeypatch):
    monkeypatch.setitem(NEEDED, "als", ("not_there",))
    with pytest.raises(MissingExtra, match=r"RECIPES=als.* needs not_there, .*pip install 'raw2rank\[als\]'"):
        check_recipes(named)
    with pytest.raises(MissingExtra, match="the baseline als needs not_there"):
        AlternatingLeastSquares().fit(_training_set([[0, 1]]))
    assert "als" not in chosen_names(["knowledge"])


def test_they_run_only_where_they_are_chosen():
    chosen = {name for name in BASELINES if name not in ALWAYS_RUN}
    assert chosen >= {"item_knn", "user_knn", "rules_support", "rules_confidence", "rules_lift", "ease"}
