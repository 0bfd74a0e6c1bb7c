"""Slices of the test users: each user in one bucket, counted as a plain loop counts them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set

from ml.data.popularity import popularity_groups
from ml.data.sequences import Sequences
from ml.data.timed_interactions import NO_TIME, SPLITS, Interactions
from ml.data.training_set import TrainingSet
from ml.evaluation.intervals import bootstrap_interval
from ml.evaluation.slices import COLUMNS, RESAMPLES, build_slices, slices_of

DAY = 24 * 60 * 60 * 1000
TIME = "time since the last interaction"


def values_of(training_set: TrainingSet, seed: int = 0, names=("one", "two")) -> dict[str, dict[str, np.ndarray]]:
    """Made-up metrics of one held-out item a user."""
    rng = np.random.default_rng(seed)
    values = {}
    for name in names:
        ranks = rng.integers(1, 25, len(training_set.test_users))
        hit = ranks <= 10
        values[name] = {"ndcg@10": np.where(hit, 1 / np.log2(ranks + 1), 0.0), "recall@10": hit.astype(float)}
    return values


def interactions_of(training_set: TrainingSet, rng: np.random.Generator, after: int = 2) -> Interactions:
    """The interactions of a training set, with times in random steps that are often 0, and ``after`` unused ones at
    the end of each user."""
    test = training_set.histories("test")
    cases = {user: case for case, user in enumerate(training_set.test_users.tolist())}
    users, items, splits, moments = [], [], [], []
    for user in range(training_set.users):
        known = training_set.train[user].tolist()
        names = ["train"] * len(known)
        if user in cases:
            known = test[cases[user]].tolist()
            names += ["validation", "history"][: len(known) - len(names)]
            known.append(int(training_set.test_targets[cases[user]]))
            names.append("test")
            known += [0] * after
            names += ["unused"] * after
        steps = rng.choice([0, 0, 1, DAY - 1, DAY, DAY + 1, 7 * DAY, 31 * DAY, 90 * DAY, 365 * DAY + 1], len(known))
        users += [user] * len(known)
        items += known
        splits += [SPLITS.index(name) for name in names]
        moments += (1_500_000_000_000 + np.cumsum(steps)).tolist()
    return Interactions(
        users=np.array(users, np.int32),
        items=np.array(items, np.int32),
        splits=np.array(splits, np.uint8),
        moments=np.array(moments, np.int64),
        lines=np.arange(len(users)),
        ratings=np.full(len(users), np.nan, np.float32),
        duplicates=np.zeros(len(users), np.int64),
    )


def length_label(length: int) -> str:
    for least, label in ((50, "50+"), (20, "20–49"), (10, "10–19"), (5, "5–9"), (2, "2–4"), (1, "1")):
        if length >= least:
            return label
    return "0"


def time_label(passed: int | None) -> str:
    if passed is None:
        return "nothing before"
    if passed < 0:
        return "target is earlier"
    if passed == 0:
        return "same moment"
    for days in (1, 7, 30, 90, 365):
        if passed <= days * DAY:
            return f"up to {days} day{'s' if days > 1 else ''}"
    return "more than 365 days"


def popularity_label(popularity: list[int], item: int) -> str:
    own, total = popularity[item], sum(popularity)
    if own and sum(other for other in popularity if other > own) * 5 < total:
        return "head: first 20 % of training interactions"
    if not own or sum(other for other in popularity if other < own) * 5 < total:
        return "tail: last 20 %"
    return "middle: next 60 %"


def labels_by_hand(training_set: TrainingSet, interactions: Interactions | None) -> dict[str, list[str]]:
    """The bucket of every test user in every slice, one user after another."""
    trained = training_set.train.items.tolist()
    popularity = [trained.count(item) for item in range(training_set.items)]
    histories = training_set.histories("test")
    labels = {name: [] for name in ("history length", "target popularity", "target in training", TIME)}
    labels["repeated target"] = []
    for case, (user, target) in enumerate(zip(training_set.test_users, training_set.test_targets, strict=True)):
        history = histories[case].tolist()
        labels["history length"].append(length_label(len(history)))
        labels["target popularity"].append(popularity_label(popularity, target))
        labels["target in training"].append("seen in training" if target in trained else "not seen in training")
        labels["repeated target"].append("target in the history" if target in history else "new target")
        if interactions is not None:
            passed, last = None, None
            for place in np.flatnonzero(interactions.users == user):
                split, moment = SPLITS[interactions.splits[place]], int(interactions.moments[place])
                if split == "test":
                    passed = None if last is None else moment - last
                    break
                last = moment
            labels[TIME].append(time_label(passed))
    return {name: some for name, some in labels.items() if some}


@given(st.integers(0, 2**16), st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_user_is_in_the_bucket_that_a_loop_finds(seed, has_times):
    training_set = made_up_training_set(seed)
    interactions = interactions_of(training_set, np.random.default_rng(seed)) if has_times else None
    parts = {part.name: part for part in slices_of(training_set, interactions)}
    expected = labels_by_hand(training_set, interactions)
    assert set(parts) == set(expected)
    for name, labels in expected.items():
        assert [parts[name].labels[bucket] for bucket in parts[name].buckets] == labels, name


@given(st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_buckets_recombine_to_the_whole(seed):
    training_set = made_up_training_set(seed)
    values = values_of(training_set, seed)
    table = build_slices(training_set, values, interactions_of(training_set, np.random.default_rng(seed)), seed)
    assert table.schema.equals(COLUMNS)
    rows = table.to_pylist()
    for part in {row["slice"] for row in rows}:
        for name, metrics in values.items():
            mine = [row for row in rows if (row["slice"], row["recommender"]) == (part, name)]
            assert sum(row["users"] for row in mine) == len(training_set.test_users)
            assert all(row["users"] for row in mine)
            for metric in ("ndcg@10", "recall@10"):
                whole = sum(row[metric] * row["users"] for row in mine) / len(training_set.test_users)
                assert whole == pytest.approx(metrics[metric].mean(), abs=1e-12)


def test_means_and_intervals_are_those_of_the_users_of_the_bucket():
    training_set = made_up_training_set(1)
    interactions = interactions_of(training_set, np.random.default_rng(1))
    values = values_of(training_set)
    labels = labels_by_hand(training_set, interactions)
    table = build_slices(training_set, values, interactions, seed=5)
    for row in table.to_pylist():
        chosen = np.array(labels[row["slice"]]) == row["bucket"]
        metrics = values[row["recommender"]]
        assert row["users"] == chosen.sum()
        assert row["ndcg@10"] == pytest.approx(metrics["ndcg@10"][chosen].mean(), abs=1e-15)
        assert row["recall@10"] == pytest.approx(metrics["recall@10"][chosen].mean(), abs=1e-15)
        if row["users"] == 1:
            assert row["ndcg@10_low"] is row["ndcg@10_high"] is None
        else:
            interval = bootstrap_interval(metrics["ndcg@10"][chosen], 5, RESAMPLES)
            assert (row["ndcg@10_low"], row["ndcg@10_high"]) == (interval.low, interval.high)
            assert interval.low <= row["ndcg@10"] + 1e-12
            assert interval.high >= row["ndcg@10"] - 1e-12


def test_rows_stand_by_slice_place_and_recommender():
    training_set = made_up_training_set()
    values = values_of(training_set, names=("zebra", "ant"))
    table = build_slices(training_set, values, interactions_of(training_set, np.random.default_rng(0)))
    order = ["history length", "target popularity", "target in training", TIME, "repeated target"]
    keys = [
        (order.index(row["slice"]), row["place"], ["zebra", "ant"].index(row["recommender"]))
        for row in table.to_pylist()
    ]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    # places are those of all buckets, also of the empty ones
    lengths = {row["bucket"]: row["place"] for row in table.to_pylist() if row["slice"] == "history length"}
    assert lengths.items() <= {"0": 1, "1": 2, "2–4": 3, "5–9": 4, "10–19": 5, "20–49": 6, "50+": 7}.items()


def two_users(times: list[int], splits: list[str]) -> tuple[TrainingSet, Interactions]:
    """The user of interest, and one before whose last interaction is long ago; every item is item 0, 1, 2, ..."""
    trained = [place for place, split in enumerate(splits) if split == "train"]
    before = [place for place, split in enumerate(splits) if split == "history"]
    test = splits.index("test")
    training_set = TrainingSet(
        dataset="Made_Up",
        item_ids=np.array([f"I{item:03d}" for item in range(len(times))], "S"),
        user_ids=np.array(["U0", "U1"], "S"),
        train=Sequences.from_lists([[0], trained]),
        validation_users=np.empty(0, np.int32),
        validation_targets=np.empty(0, np.int32),
        test_users=np.array([1], np.int32),
        test_targets=np.array([test], np.int32),
        before_test=Sequences.from_lists([before]),
    )
    interactions = Interactions(
        users=np.array([0] + [1] * len(times), np.int32),
        items=np.array([0, *range(len(times))], np.int32),
        splits=np.array([SPLITS.index(split) for split in ["train", *splits]], np.uint8),
        moments=np.array([0, *times], np.int64),
        lines=np.arange(len(times) + 1),
        ratings=np.full(len(times) + 1, np.nan, np.float32),
        duplicates=np.zeros(len(times) + 1, np.int64),
    )
    return training_set, interactions


@pytest.mark.parametrize(
    ("times", "splits", "bucket"),
    [
        ([5, 5], ["train", "test"], "same moment"),
        ([5, 6], ["train", "test"], "up to 1 day"),
        ([5, 5 + DAY], ["train", "test"], "up to 1 day"),
        ([5, 6 + DAY], ["train", "test"], "up to 7 days"),
        ([5, 5 + 7 * DAY], ["train", "test"], "up to 7 days"),
        ([5, 6 + 7 * DAY], ["train", "test"], "up to 30 days"),
        ([5, 5 + 90 * DAY], ["train", "test"], "up to 90 days"),
        ([5, 5 + 365 * DAY], ["train", "test"], "up to 365 days"),
        ([5, 6 + 365 * DAY], ["train", "test"], "more than 365 days"),
        ([9, 5], ["train", "test"], "target is earlier"),
        # known but not trained on, and later than the target
        ([5, 5 + 40 * DAY, 6 + 40 * DAY, 6 + 40 * DAY], ["train", "history", "test", "unused"], "up to 1 day"),
        # the interaction before belongs to another user
        ([5, 6], ["test", "unused"], "nothing before"),
        # one that is not part of the history does not count
        ([5, 5 + DAY, 6 + DAY], ["train", "unused", "test"], "up to 7 days"),
    ],
)
def test_time_is_since_the_end_of_the_test_history(times, splits, bucket):
    training_set, interactions = two_users(times, splits)
    part = next(part for part in slices_of(training_set, interactions) if part.name == TIME)
    assert [part.labels[number] for number in part.buckets] == [bucket]


def test_there_is_no_slice_by_time_without_times():
    training_set = made_up_training_set()
    interactions = interactions_of(training_set, np.random.default_rng(0))
    moments = interactions.moments.copy()
    moments[0] = NO_TIME
    without = build_slices(training_set, values_of(training_set), replace(interactions, moments=moments))
    assert TIME not in without["slice"].to_pylist()
    assert without.equals(build_slices(training_set, values_of(training_set)))


@pytest.mark.parametrize(
    ("popularity", "groups"),
    [
        # the most popular item is the head, however much it holds
        ([10, 10, 60, 20], [2, 2, 0, 1]),
        ([30, 20, 20, 20, 10], [0, 2, 2, 2, 2]),
        ([30, 20, 15, 15, 10, 10], [0, 1, 1, 1, 2, 2]),
        # items equally popular are never parted: four of 15 are the tail together
        ([40, 15, 15, 15, 15], [0, 2, 2, 2, 2]),
        ([15, 15, 15, 15, 40], [2, 2, 2, 2, 0]),
        # exactly at the bounds, and with one interaction less on either side
        ([10] * 2 + [6] * 10 + [4] * 5, [0] * 2 + [1] * 10 + [2] * 5),
        ([9] * 2 + [6] * 10 + [4] * 5, [0] * 12 + [2] * 5),
        ([10] * 2 + [6] * 10 + [4] * 4, [0] * 2 + [2] * 14),
        ([1, 1, 1, 1], [0, 0, 0, 0]),
        ([5, 0, 0], [0, 2, 2]),
        ([0, 0], [2, 2]),
    ],
)
def test_head_and_tail_by_hand(popularity, groups):
    assert popularity_groups(np.array(popularity)).tolist() == groups


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.randoms())
def test_head_and_tail_whatever_the_catalogue(popularity, random):
    groups = popularity_groups(np.array(popularity))
    order = list(range(len(popularity)))
    random.shuffle(order)
    assert popularity_groups(np.array(popularity)[order]).tolist() == groups[order].tolist()
    total = sum(popularity)
    head, tail = (sum(np.array(popularity)[groups == group]) for group in (0, 2))
    if total:
        assert 5 * head >= total
        least = min(amount for amount, group in zip(popularity, groups, strict=True) if group == 0)
        # without its least popular items, it would be less than a fifth
        assert 5 * sum(amount for amount in popularity if amount > least) < total
    if 1 in groups:
        assert 5 * tail >= total
    # the more popular never stands behind the less popular
    assert all(
        groups[one] <= groups[other]
        for one in range(len(groups))
        for other in range(len(groups))
        if popularity[one] >= popularity[other]
    )


def test_bad_input_is_refused():
    training_set = made_up_training_set()
    values = values_of(training_set)
    with pytest.raises(ValueError, match="two: slices need recall@10 of each of the 65 test users"):
        build_slices(training_set, {**values, "two": {"ndcg@10": values["two"]["ndcg@10"]}})
    with pytest.raises(ValueError, match="one: slices need ndcg@10"):
        build_slices(training_set, {"one": {name: some[1:] for name, some in values["one"].items()}})
    interactions = interactions_of(training_set, np.random.default_rng(0))
    other = replace(training_set, test_targets=(training_set.test_targets + 1) % training_set.items)
    with pytest.raises(ValueError, match="other test targets than the training set"):
        build_slices(other, values, interactions)


def test_equal_input_gives_an_equal_table():
    training_set = made_up_training_set()
    interactions = interactions_of(training_set, np.random.default_rng(0))
    values = values_of(training_set)
    table = build_slices(training_set, values, interactions, 3)
    assert table.equals(build_slices(training_set, values, interactions, 3))
