"""Measures and goals beyond accuracy: hand-made cases, scipy, and what must hold whatever the lists."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics import ndcg_score

from ml.beyond_accuracy import measures
from ml.beyond_accuracy.goals import GOALS, Goal, GoalOnData, GoalUnavailable, available_goals, goal_named, goal_on
from ml.beyond_accuracy.vectors import category_vectors, co_occurrence_vectors, labels_of
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.recommender import NO_ITEM
from ml.text.encoder import unit_rows

ITEMS = 9
# unknown items are the last two
VECTORS = np.concatenate([unit_rows(np.random.default_rng(0).normal(size=(ITEMS - 2, 4))), np.zeros((2, 4))])
NO_HISTORY = Sequences.empty(1)

a_list = st.permutations(range(ITEMS)).flatmap(
    lambda items: st.integers(0, 6).map(lambda length: [*items[:length], *[NO_ITEM] * (6 - length)])
)
some_lists = st.lists(a_list, min_size=1, max_size=5).map(np.array)
a_history = st.lists(st.integers(0, ITEMS - 1), max_size=7)


def text(title: str, category: str = "Unknown") -> str:
    return f"Title: {title} Brand: Unknown Category: {category} Price: Unknown"


def training_set(categories: list[str], histories: list[list[int]], titles: list[str] | None = None) -> TrainingSet:
    items = len(categories)
    titles = titles or [f"thing number {item}" for item in range(items)]
    return TrainingSet(
        dataset="Made_Up",
        item_ids=np.array([f"I{item:03d}" for item in range(items)], dtype="S"),
        user_ids=np.array([f"U{user:03d}" for user in range(len(histories))], dtype="S"),
        train=Sequences.from_lists(histories),
        validation_users=np.empty(0, np.int32),
        validation_targets=np.empty(0, np.int32),
        test_users=np.empty(0, np.int32),
        test_targets=np.empty(0, np.int32),
        item_text=tuple(text(*both) for both in zip(titles, categories, strict=True)),
    )


def on(name: str, vectors: np.ndarray | None = None, values: np.ndarray | None = None) -> GoalOnData:
    return GoalOnData(GOALS[name], vectors, values)


def one_of_each() -> dict[str, GoalOnData]:
    values = np.linspace(0, 1, ITEMS, dtype=np.float32)
    return {
        name: on(name, None, values) if goal.kind == "popularity" else on(name, VECTORS) for name, goal in GOALS.items()
    }


def test_ndcg_of_one_target():
    lists = np.array([[3, 1, 2], [1, 3, 2], [1, 2, 0], [1, NO_ITEM, NO_ITEM]])
    assert measures.ndcg(lists, np.array([3, 3, 3, NO_ITEM])).tolist() == [1, 1 / math.log2(3), 0, 0]
    with pytest.raises(ValueError, match=r"targets of shape \(2,\) for 4 lists"):
        measures.ndcg(lists, np.array([1, 2]))


@given(some_lists, st.integers(0, ITEMS - 1))
def test_ndcg_is_that_of_scikit_learn(lists, target):
    relevance = np.zeros((1, ITEMS))
    relevance[0, target] = 1
    for row, value in zip(lists, measures.ndcg(lists, np.full(len(lists), target)), strict=True):
        # scores that rank the list first, and what is not in it below the cut
        listed = [item for item in row if item != NO_ITEM]
        scores = np.full((1, ITEMS), -1.0)
        scores[0, listed] = np.arange(len(listed), 0, -1)
        expected = ndcg_score(relevance, scores, k=len(listed)) if listed else 0
        assert value == pytest.approx(expected)


@given(some_lists)
def test_intra_list_distance_is_the_mean_of_pdist(lists):
    found = measures.intra_list_distance(lists, VECTORS)
    for row, value in zip(lists, found, strict=True):
        known = [item for item in row if 0 <= item < ITEMS - 2]
        expected = pdist(VECTORS[known], "cosine").mean() if len(known) > 1 else math.nan
        assert value == pytest.approx(expected, abs=1e-6, nan_ok=True)


@given(some_lists, st.lists(a_history, min_size=5, max_size=5))
def test_novelty_is_the_mean_of_cdist(lists, histories):
    found = measures.novelty_to_history(lists, VECTORS, Sequences.from_lists(histories[: len(lists)]))
    for row, history, value in zip(lists, histories, found, strict=False):
        listed = [item for item in row if 0 <= item < ITEMS - 2]
        known = [item for item in history if item < ITEMS - 2]
        expected = cdist(VECTORS[listed], VECTORS[known], "cosine").mean() if listed and known else math.nan
        assert value == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", GOALS)
@settings(max_examples=25)
@given(some_lists, st.lists(a_history, min_size=5, max_size=5))
def test_gains_add_up_to_the_measure(name, lists, histories):
    goal, histories = one_of_each()[name], Sequences.from_lists(histories[: len(lists)])
    gains, measured = goal.gains(lists, histories), goal.measure(lists, histories)
    assert gains.shape == lists.shape
    assert gains.dtype == measured.dtype == np.float64
    np.testing.assert_allclose(gains.sum(axis=1), np.nan_to_num(measured), atol=1e-6)
    assert (gains[lists == NO_ITEM] == 0).all()
    assert (gains >= 0).all()


@pytest.mark.parametrize("name", GOALS)
@settings(max_examples=25)
@given(some_lists, st.lists(a_history, min_size=5, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_a_list_does_not_change_its_measure(name, lists, histories, random):
    goal, histories = one_of_each()[name], Sequences.from_lists(histories[: len(lists)])
    shuffled = np.array([random.sample(row, len(row)) for row in lists.tolist()])
    expected = goal.measure(lists, histories)
    np.testing.assert_allclose(goal.measure(shuffled, histories), expected, atol=1e-6)


def test_rows_in_blocks_give_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    lists = np.array([rng.permutation(ITEMS)[:5] for _ in range(20)])
    histories = Sequences.from_lists([rng.integers(0, ITEMS, rng.integers(0, 6)) for _ in range(20)])
    whole = [goal.gains(lists, histories) for goal in one_of_each().values()]
    monkeypatch.setattr(measures, "_FLOATS_AT_ONCE", 30)
    for goal, expected in zip(one_of_each().values(), whole, strict=True):
        np.testing.assert_array_equal(goal.gains(lists, histories), expected)


def test_identical_labels_are_0_apart_and_disjoint_ones_1():
    vectors = category_vectors(["a|b", "b|a", "c", "d|e|f", "a"])
    assert measures.intra_list_distance(np.array([[0, 1], [0, 2], [2, 3], [0, 4]]), vectors) == pytest.approx(
        [0, 1, 1, 1 - 1 / math.sqrt(2)], abs=1e-7
    )
    assert measures.intra_list_distance(np.array([[0, 2, 3]]), vectors) == pytest.approx([1])


def test_gains_of_diversity_are_of_the_pairs_with_items_above():
    vectors = category_vectors(["a", "a", "b", "c"])
    assert on("category_diversity", vectors).gains(np.array([[0, 1, 2, 3]]), NO_HISTORY).tolist() == [
        pytest.approx([0, 0, 2 / 6, 3 / 6])
    ]


def test_gains_of_popularity_and_novelty_are_shares_of_a_mean():
    values = np.array([0.1, 0.5, 0.9], dtype=np.float32)
    lists = np.array([[2, 0, NO_ITEM]])
    assert on("popularity", None, values).gains(lists, NO_HISTORY)[0] == pytest.approx([0.45, 0.05, 0])
    vectors = category_vectors(["a", "b", "b"])
    gains = on("category_novelty", vectors).gains(lists, Sequences.from_lists([[0, 0, 1]]))
    assert gains[0] == pytest.approx([2 / 3 / 2, 1 / 3 / 2, 0])


def test_what_is_undefined_is_nan_and_gains_nothing():
    goals = one_of_each()
    empty = np.full((1, 4), NO_ITEM)
    for goal in goals.values():
        assert math.isnan(goal.measure(empty, NO_HISTORY)[0])
        assert not goal.gains(empty, NO_HISTORY).any()
    assert math.isnan(goals["text_diversity"].measure(np.array([[0, ITEMS - 1]]), NO_HISTORY)[0])
    assert math.isnan(goals["text_novelty"].measure(np.array([[0, 1]]), NO_HISTORY)[0])
    assert math.isnan(goals["text_novelty"].measure(np.array([[0, 1]]), Sequences.from_lists([[ITEMS - 1]]))[0])
    # no list, and lists of no place
    assert goals["text_novelty"].measure(np.empty((0, 10), np.int32), Sequences.empty(0)).shape == (0,)
    assert goals["popularity"].gains(np.empty((1, 0), np.int32), NO_HISTORY).shape == (1, 0)


def test_a_list_shorter_than_asked_for_is_measured_by_the_items_it_has():
    short, padded = np.array([[0, 1, 2]]), np.array([[0, 1, 2, NO_ITEM, NO_ITEM]])
    history = Sequences.from_lists([[3, 4]])
    for goal in one_of_each().values():
        assert goal.measure(padded, history) == pytest.approx(goal.measure(short, history))


def test_bad_lists_vectors_and_histories_are_refused():
    goal = one_of_each()["text_novelty"]
    with pytest.raises(ValueError, match="lists hold items from 0 to 9, and the catalogue has 9 items"):
        goal.gains(np.array([[0, 9]]), NO_HISTORY)
    with pytest.raises(ValueError, match="2 histories for 1 lists"):
        goal.gains(np.array([[0, 1]]), Sequences.empty(2))
    with pytest.raises(ValueError, match=r"lists of shape \(1,\)"):
        goal.measure(np.array([0]), NO_HISTORY)
    with pytest.raises(ValueError, match="vectors must have length 1"):
        measures.intra_list_distance(np.array([[0, 1]]), 2 * VECTORS)
    with pytest.raises(ValueError, match="either vectors or values"):
        on("popularity")


def test_labels_of_categories():
    assert labels_of("Comedy|Animation|Comedy") == ("Animation", "Comedy")
    assert labels_of("Health & Household") == ("Health & Household",)
    assert labels_of(" a | |b|") == ("a", "b")
    assert labels_of(None) == labels_of("  ") == labels_of("|") == ()


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 7), max_size=6), min_size=1, max_size=8), st.integers(1, 8))
def test_co_occurrence_of_few_users_is_the_cosine_of_their_sets(histories, items):
    histories = [[item % items for item in history] for history in histories]
    vectors = co_occurrence_vectors(Sequences.from_lists(histories), items)
    users = [{user for user, history in enumerate(histories) if item in history} for item in range(items)]
    for one in range(items):
        for other in range(items):
            longest = math.sqrt(len(users[one]) * len(users[other]))
            expected = len(users[one] & users[other]) / longest if longest else 0
            assert vectors[one] @ vectors[other] == pytest.approx(expected, abs=1e-5)


def test_co_occurrence_of_many_users_is_reduced_and_deterministic():
    rng = np.random.default_rng(3)
    groups = [rng.integers(0, 50, 8) + 50 * (user % 4) for user in range(300)]
    histories = Sequences.from_lists(groups)
    vectors = co_occurrence_vectors(histories, 200)
    assert vectors.shape == (200, 64)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, co_occurrence_vectors(histories, 200))
    cosines = vectors @ vectors.T
    same_group = np.arange(200)[:, None] // 50 == np.arange(200)[None] // 50
    assert np.abs(cosines[~same_group]).max() < 0.15
    assert cosines[same_group & ~np.eye(200, dtype=bool)].mean() > 0.15


def test_goals_on_a_training_set():
    data = training_set(["a", "a|b", "c", "Unknown"], [[0, 1], [1, 2, 2], [1]])
    assert available_goals(data) == tuple(GOALS)
    popularity = goal_on("popularity", data)
    assert popularity.vectors is None
    np.testing.assert_allclose(popularity.values, [3 / 8, 7 / 8, 5 / 8, 1 / 8])
    category = goal_on("category_diversity", data).vectors
    assert category.dtype == np.float32
    assert not category[3].any()
    np.testing.assert_array_equal(category, goal_on("category_novelty", data).vectors)
    for name in ("text_diversity", "text_novelty", "co_occurrence_diversity"):
        vectors = goal_on(name, data).vectors
        assert len(vectors) == data.items
        lengths = np.linalg.norm(vectors, axis=1)
        assert np.logical_or(np.isclose(lengths, 1, atol=1e-5), lengths == 0).all()


def test_a_goal_that_the_items_cannot_have_names_those_they_can():
    data = training_set(["a", "a"], [[0, 1]])
    with pytest.raises(GoalUnavailable, match=r"items of Made_Up have no categories.*category_novelty.*text_diversity"):
        goal_on("category_novelty", data)
    wordless = training_set(["Unknown"] * 2, [[0, 1]], ["Unknown"] * 2)
    assert available_goals(wordless) == ("co_occurrence_diversity", "popularity")
    with pytest.raises(GoalUnavailable, match=r"have no text.*choose one of co_occurrence_diversity, popularity"):
        goal_on("text_diversity", wordless)
    textless = replace(wordless, item_text=None)
    assert available_goals(textless) == ("co_occurrence_diversity", "popularity")
    unread = replace(textless, train=Sequences.empty(1))
    with pytest.raises(GoalUnavailable, match=r"in no training history.*no other goal"):
        goal_on("popularity", unread)


def test_an_unknown_goal_is_named_with_those_that_there_are():
    assert isinstance(goal_named("popularity"), Goal)
    assert not goal_named("popularity").higher_is_better
    with pytest.raises(
        ValueError, match=r"no goal text_diversty \(did you mean text_diversity\?\); there are category"
    ):
        goal_named("text_diversty")


def test_ten_thousand_lists_are_measured_in_well_under_a_second():
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(2000, 64)))
    lists = np.argsort(rng.random((10_000, 100)), axis=1)[:, :10] + rng.integers(0, 1900, (10_000, 1))
    histories = Sequences(rng.integers(0, 2000, 100_000).astype(np.int32), np.arange(10_001) * 10)
    started = time.process_time()
    on("text_diversity", vectors).gains(lists, histories)
    on("text_novelty", vectors).gains(lists, histories)
    assert time.process_time() - started < 2
