"""Metrics by ranx, against their closed form for one relevant item."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set

from ml.evaluation.metrics import METRICS, mean_metrics, metrics_of_depth, user_metrics
from ml.evaluation.rankings import RankingError, rank
from ml.recommender import NO_ITEM, Recommendations


class Told:
    """Recommends what it is told, in the order of the rows asked for."""

    def __init__(self, items: np.ndarray, scores: np.ndarray) -> None:
        self.answer = Recommendations(items.astype(np.int32), scores.astype(np.float32))

    def recommend(self, histories, k, exclude_seen):
        return self.answer


def rankings_of(items: np.ndarray, scores: np.ndarray, training_set) -> pa.Table:
    return rank(Told(items, scores), training_set, "told", seed=0, depth=items.shape[1], block=10_000)


def closed_form(items: np.ndarray, targets: np.ndarray, metric: str) -> np.ndarray:
    """One value a row, straight from the definition."""
    name, cut_off = metric.split("@")
    hit = items[:, : int(cut_off)] == targets[:, None]
    place = hit.argmax(axis=1) + 1
    value = {"recall": np.ones(len(items)), "ndcg": 1 / np.log2(place + 1), "mrr": 1 / place}[name]
    return np.where(hit.any(axis=1), value, 0.0)


def random_lists(seed: int, depth: int, shortest: int, tied: bool):
    """A training set, and for its test users lists of different lengths that hold their targets often."""
    training_set = made_up_training_set(seed % 5)
    rng = np.random.default_rng(seed)
    users = len(training_set.test_users)
    items = np.argsort(rng.random((users, training_set.items)), axis=1)[:, :depth]
    lengths = rng.integers(shortest, depth + 1, users)
    items = np.where(np.arange(depth) < lengths[:, None], items, NO_ITEM)
    scores = np.zeros(items.shape) if tied else -np.sort(rng.random(items.shape), axis=1)
    scores = np.where(items == NO_ITEM, -np.inf, scores)
    return training_set, items, scores


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    depth=st.integers(1, 30),
    shortest=st.integers(0, 30),
    tied=st.booleans(),
)
def test_equal_their_closed_form(seed, depth, shortest, tied):
    training_set, items, scores = random_lists(seed, depth, min(shortest, depth), tied)
    table = user_metrics(rankings_of(items, scores, training_set), training_set)
    assert table["user_index"].to_pylist() == training_set.test_users.tolist()
    assert table["recommender"].unique().to_pylist() == ["told"]
    metrics = metrics_of_depth(depth)
    assert table.schema.names == ["user_index", "recommender", "seed", *metrics]
    means = mean_metrics(table)
    assert list(means) == list(metrics)
    for metric in metrics:
        expected = closed_form(items, training_set.test_targets, metric)
        np.testing.assert_allclose(table[metric].to_numpy(), expected, rtol=0, atol=1e-9)
        assert means[metric] == pytest.approx(expected.mean(), abs=1e-9)


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
    found = {metric: table[metric].to_numpy() for metric in METRICS}
    first, tenth, twentieth, missing = (int(np.flatnonzero(places == place)[0]) for place in (0, 9, 19, 20))
    assert all(found[metric][first] == 1 for metric in METRICS)
    assert found["recall@10"][tenth] == 1
    assert found["ndcg@10"][tenth] == pytest.approx(1 / np.log2(11))
    assert found["mrr@10"][tenth] == pytest.approx(0.1)
    assert found["recall@5"][tenth] == 0
    assert found["mrr@10"][twentieth] == found["ndcg@10"][twentieth] == 0
    assert found["mrr@20"][twentieth] == pytest.approx(0.05)
    assert all(found[metric][missing] == 0 for metric in METRICS)


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


def test_few_users_and_none():
    whole = made_up_training_set()
    for users in (0, 1, 3):
        few = replace(whole, test_users=whole.test_users[:users], test_targets=whole.test_targets[:users])
        items = np.tile(np.arange(20), (users, 1))
        table = user_metrics(rankings_of(items, np.zeros((users, 20)), few), few)
        assert table.num_rows == users
        assert table.schema.names == ["user_index", "recommender", "seed", *METRICS]
        for metric in METRICS:
            expected = closed_form(items, few.test_targets, metric)
            np.testing.assert_allclose(table[metric].to_numpy(), expected, rtol=0, atol=1e-9)
    with pytest.raises(RankingError, match="no test user"):
        mean_metrics(table.slice(0, 0))


def test_rankings_of_other_users_are_refused():
    training_set = made_up_training_set()
    items = np.tile(np.arange(20), (len(training_set.test_users), 1))
    table = rankings_of(items, np.zeros(items.shape), training_set)
    fewer = replace(training_set, test_users=training_set.test_users[:-1], test_targets=training_set.test_targets[:-1])
    with pytest.raises(RankingError, match="a user who is not tested"):
        user_metrics(table, fewer)


def test_metrics_are_those_that_the_depth_allows():
    assert metrics_of_depth(20) == METRICS
    assert metrics_of_depth(9) == ("recall@1", "recall@5", "ndcg@5", "mrr@5")
    assert metrics_of_depth(1) == ("recall@1",)
