"""Metrics, against ranx and against their definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set

from ml.data.sequences import Sequences
from ml.evaluation.metrics import (
    METRICS,
    is_relevant,
    mean_metrics,
    metric_values,
    metrics_of_depth,
    relevance_metrics,
    user_metrics,
)
from ml.evaluation.rankings import RankingError, rank
from ml.recommender import NO_ITEM, Recommendations

COLUMNS = ["user_index", "recommender", "seed", "target_rank", "cut_is_tied"]
GENERAL = (*METRICS, *(f"hit_rate@{k}" for k in (1, 5, 10, 20, 100)), "ndcg@3", "map@7")


class Told:
    """Recommends what it is told, in the order of the rows asked for."""

    def __init__(self, items: np.ndarray, scores: np.ndarray) -> None:
        self.answer = Recommendations(items.astype(np.int32), scores.astype(np.float32))

    def recommend(self, histories, k, exclude_seen):
        return self.answer


def rankings_of(items: np.ndarray, scores: np.ndarray, training_set) -> pa.Table:
    return rank(Told(items, scores), training_set, "told", seed=0, depth=items.shape[1], block=10_000)


def by_ranx(lists: list[np.ndarray], relevant: list[np.ndarray], metrics: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Metrics of lists of any length, one a user, by ranx; its scores fall with the rank."""
    from numba.typed import List
    from ranx import evaluate

    def pairs(items: np.ndarray, falling: bool) -> np.ndarray:
        weights = -np.arange(len(items), dtype=np.float64) if falling else np.ones(len(items))
        return np.column_stack([np.asarray(items, dtype=np.float64), weights]).reshape(-1, 2)

    runs, qrels = List(), List()
    for items, wanted in zip(lists, relevant, strict=True):
        runs.append(pairs(items, falling=True))
        qrels.append(pairs(wanted, falling=False))
    return evaluate(qrels, runs, list(metrics), return_mean=False)


def random_lists(seed: int, depth: int, shortest: int, tied: bool):
    """A training set, and for its test users lists of different lengths, some empty, some with ties.

    The target of every third user lies in its own history.
    """
    training_set = made_up_training_set(seed % 5)
    rng = np.random.default_rng(seed)
    targets, histories = training_set.test_targets.copy(), training_set.histories("test")
    for row in range(0, len(targets), 3):
        if len(histories[row]):
            targets[row] = histories[row][0]
    training_set = replace(training_set, test_targets=targets)
    users = len(targets)
    items = np.argsort(rng.random((users, training_set.items)), axis=1)[:, :depth]
    lengths = rng.integers(shortest, depth + 1, users)
    items = np.where(np.arange(depth) < lengths[:, None], items, NO_ITEM)
    scores = -np.sort(rng.integers(0, 4, items.shape), axis=1) if tied else -np.sort(rng.random(items.shape), axis=1)
    scores = np.where(items == NO_ITEM, -np.inf, scores)
    return training_set, items, scores


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    depth=st.integers(1, 40),
    shortest=st.integers(0, 40),
    tied=st.booleans(),
)
def test_equal_ranx(seed, depth, shortest, tied):
    training_set, items, scores = random_lists(seed, depth, min(shortest, depth), tied)
    table = user_metrics(rankings_of(items, scores, training_set), training_set)
    assert table["user_index"].to_pylist() == training_set.test_users.tolist()
    assert table["recommender"].unique().to_pylist() == ["told"]
    assert table.schema.names == COLUMNS
    metrics = metrics_of_depth(depth)
    means = mean_metrics(table)
    assert list(means) == list(metrics)
    expected = by_ranx([row[row != NO_ITEM] for row in items], list(training_set.test_targets[:, None]), METRICS)
    for metric in metrics:
        np.testing.assert_allclose(metric_values(table, metric), expected[metric], rtol=0, atol=1e-9)
        assert means[metric] == pytest.approx(expected[metric].mean(), abs=1e-9)
    if depth >= 10:
        # one relevant item: the hit rate is the recall
        np.testing.assert_array_equal(metric_values(table, "hit_rate@10"), metric_values(table, "recall@10"))
    # the general form is equal to the one for a single target, and takes a cut-off beyond the depth as ranx does
    matrix = is_relevant(items, Sequences.from_lists([[target] for target in training_set.test_targets]))
    general = relevance_metrics(matrix, np.ones(len(items), dtype=int))
    for metric in METRICS:
        np.testing.assert_allclose(general[metric], expected[metric], rtol=0, atol=1e-9)
    for metric in metrics:
        np.testing.assert_array_equal(general[metric], metric_values(table, metric))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    users=st.integers(1, 30),
    depth=st.integers(0, 60),
    catalogue=st.integers(1, 60),
    most=st.integers(0, 12),
)
def test_several_relevant_items_equal_ranx(seed, users, depth, catalogue, most):
    rng = np.random.default_rng(seed)
    depth, most = min(depth, catalogue), min(most, catalogue)
    items = np.argsort(rng.random((users, catalogue)), axis=1)[:, :depth]
    items = np.where(np.arange(depth) < rng.integers(0, depth + 1, users)[:, None], items, NO_ITEM)
    relevant = [rng.permutation(catalogue)[: rng.integers(0, most + 1)] for _ in range(users)]
    matrix = is_relevant(items, Sequences.from_lists(relevant))
    found = relevance_metrics(matrix, np.array([len(one) for one in relevant]), GENERAL)
    expected = by_ranx([row[row != NO_ITEM] for row in items], relevant, GENERAL)
    assert list(found) == list(GENERAL)
    for metric in GENERAL:
        np.testing.assert_allclose(found[metric], expected[metric], rtol=0, atol=1e-9, err_msg=metric)


def test_several_relevant_items_by_hand():
    # relevant at ranks 2 and 4 of a list of four; three relevant items in all
    found = relevance_metrics(np.array([[False, True, False, True]]), np.array([3]), GENERAL)
    by_hand = {
        "recall@5": 2 / 3,
        "hit_rate@5": 1,
        "precision@5": 2 / 5,
        "mrr@5": 1 / 2,
        "map@5": (1 / 2 + 2 / 4) / 3,
        "ndcg@5": (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3) + 1 / 2),
        "recall@1": 0,
        "ndcg@1": 0,
        "ndcg@3": (1 / np.log2(3)) / (1 + 1 / np.log2(3) + 1 / 2),
    }
    for metric, value in by_hand.items():
        assert found[metric][0] == pytest.approx(value, abs=1e-12), metric


def test_wrong_relevance_is_refused():
    with pytest.raises(ValueError, match="holds one twice, or the count is wrong"):
        relevance_metrics(np.array([[True, True]]), np.array([1]))
    with pytest.raises(ValueError, match=r"relevance is \[users, depth\]"):
        relevance_metrics(np.array([[True, True]]), np.array([1, 1]))
    with pytest.raises(ValueError, match="2 lists, and relevant items of 1 users"):
        is_relevant(np.zeros((2, 3), dtype=int), Sequences.from_lists([[1]]))


def test_every_rank_counts_as_it_should():
    training_set = made_up_training_set()
    users = len(training_set.test_users)
    targets = training_set.test_targets
    others = np.array([[item for item in range(40) if item != target][:20] for target in targets])
    items = others.copy()
    places = np.arange(users) % 22
    for row, place in enumerate(places):
        if place < 20:
            items[row, place] = targets[row]
    table = user_metrics(rankings_of(items, np.zeros(items.shape), training_set), training_set)
    np.testing.assert_array_equal(table["target_rank"].fill_null(0).to_numpy(), np.where(places < 20, places + 1, 0))
    assert table["target_rank"].null_count == int((places >= 20).sum())
    metrics = metrics_of_depth(20)
    found = {metric: metric_values(table, metric) for metric in metrics}
    first, tenth, twentieth, missing = (int(np.flatnonzero(places == place)[0]) for place in (0, 9, 19, 20))
    assert all(found[metric][first] == 1 for metric in metrics if not metric.startswith("precision"))
    assert found["precision@5"][first] == pytest.approx(0.2)
    assert found["recall@10"][tenth] == 1
    assert found["ndcg@10"][tenth] == pytest.approx(1 / np.log2(11))
    assert found["mrr@10"][tenth] == found["map@10"][tenth] == found["precision@10"][tenth] == pytest.approx(0.1)
    assert found["recall@5"][tenth] == 0
    assert found["mrr@10"][twentieth] == found["ndcg@10"][twentieth] == 0
    assert found["mrr@20"][twentieth] == pytest.approx(0.05)
    assert all(found[metric][missing] == 0 for metric in metrics)


def test_ties_stay_as_they_were_broken():
    training_set = made_up_training_set()
    users = len(training_set.test_users)
    items = np.argsort(np.arange(40)[None, :] != training_set.test_targets[:, None], axis=1, kind="stable")
    reversed_items = items[:, ::-1]
    zeros = np.zeros((users, 40))
    first = user_metrics(rankings_of(items, zeros, training_set), training_set)
    last = user_metrics(rankings_of(reversed_items, zeros, training_set), training_set)
    assert mean_metrics(first)["recall@1"] == 1
    assert mean_metrics(last)["recall@20"] == 0


def test_a_tie_at_the_cut_is_counted():
    training_set = made_up_training_set()
    users = len(training_set.test_users)
    items = np.tile(np.arange(12), (users, 1))
    scores = np.tile(-np.arange(12.0), (users, 1))
    scores[0, 9] = scores[0, 10]  # ranks 10 and 11
    scores[1, 8] = scores[1, 9]  # 9 and 10: both are in
    scores[2, 10] = scores[2, 11]  # 11 and 12: both are out
    items[3, 10:], scores[3, 10:] = NO_ITEM, -np.inf  # a list of ten
    items[4, 9:], scores[4, 9:] = NO_ITEM, -np.inf
    scores[5] = 0
    expected = [row in (0, 5) for row in range(users)]
    table = user_metrics(rankings_of(items, scores, training_set), training_set)
    assert table["cut_is_tied"].to_pylist() == expected
    # ten of forty items: the eleventh is not known
    short = user_metrics(rankings_of(items[:, :10], scores[:, :10], training_set), training_set)
    assert short["cut_is_tied"].null_count == users


def test_order_of_rows_does_not_matter_and_the_better_of_two_ranks_counts():
    training_set, items, scores = random_lists(3, 30, 5, tied=True)
    items[0, 4] = items[0, 9] = training_set.test_targets[0]
    items[0, :4] = [item for item in range(10) if item != training_set.test_targets[0]][:4]
    table = rankings_of(items, scores, training_set)
    expected = user_metrics(table, training_set)
    shuffled = table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows)))
    assert user_metrics(shuffled, training_set).equals(expected, check_metadata=True)
    assert expected["target_rank"][0].as_py() == 5


def test_few_users_and_none():
    whole = made_up_training_set()
    for users in (0, 1, 3):
        few = replace(whole, test_users=whole.test_users[:users], test_targets=whole.test_targets[:users])
        items = np.tile(np.arange(20), (users, 1))
        table = user_metrics(rankings_of(items, np.zeros((users, 20)), few), few)
        assert table.num_rows == users
        assert table.schema.names == COLUMNS
        expected = [target + 1 if target < 20 else None for target in few.test_targets.tolist()]
        assert table["target_rank"].to_pylist() == expected
        assert len(metric_values(table, "mrr@20")) == users
    with pytest.raises(RankingError, match="no test user"):
        mean_metrics(table.slice(0, 0))


def test_means_do_not_depend_on_the_order_of_users():
    training_set, items, scores = random_lists(7, 40, 20, tied=False)
    table = user_metrics(rankings_of(items, scores, training_set), training_set)
    reversed_table = table.take(pa.array(np.arange(table.num_rows)[::-1]))
    assert mean_metrics(reversed_table) == mean_metrics(table)


def test_rankings_of_other_users_are_refused():
    training_set = made_up_training_set()
    items = np.tile(np.arange(20), (len(training_set.test_users), 1))
    table = rankings_of(items, np.zeros(items.shape), training_set)
    fewer = replace(training_set, test_users=training_set.test_users[:-1], test_targets=training_set.test_targets[:-1])
    with pytest.raises(RankingError, match="a user who is not tested"):
        user_metrics(table, fewer)
    stranger = table["user_index"].to_numpy().copy()
    stranger[-1] = training_set.users
    with pytest.raises(RankingError, match="a user who is not tested"):
        user_metrics(table.set_column(0, table.schema.field(0), pa.array(stranger)), training_set)


def test_metrics_are_those_that_the_depth_allows():
    assert len(METRICS) == 25
    assert metrics_of_depth(100) == METRICS
    assert metrics_of_depth(9) == tuple(
        f"{name}@{k}" for name in ("recall", "ndcg", "mrr", "map", "precision") for k in (1, 5)
    )
    training_set = made_up_training_set()
    items = np.tile(np.arange(9), (len(training_set.test_users), 1))
    table = user_metrics(rankings_of(items, np.zeros(items.shape), training_set), training_set)
    with pytest.raises(RankingError, match="depth 9 are too short for ndcg@10: rank 10 items or more"):
        metric_values(table, "ndcg@10")
    for name in ("accuracy@10", "ndcg", "ndcg@0", "ndcg@-1", "ndcg@ten", "ndcg@²"):
        with pytest.raises(RankingError, match="there is no metric"):
            metric_values(table, name)
