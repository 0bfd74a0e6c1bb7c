"""Splits with several test targets a user: the training set, metrics, and all that reads the targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.audits.audit import NOT_APPLICABLE
from ml.audits.duplicates import audit_duplicates
from ml.audits.leakage import with_held_out_replaced
from ml.audits.temporal import audit_temporal
from ml.audits.ties import audit_ties
from ml.baselines.registry import BASELINES
from ml.data.build_training_set import SPLITS, SplitError, build_training_set, divided
from ml.data.seen_targets import in_history
from ml.data.sequences import Sequences
from ml.data.timed_interactions import read_interactions
from ml.data.times import times_of_everything
from ml.data.training_set import TrainingSet
from ml.evaluation.entry import Entry
from ml.evaluation.leaderboard import build_leaderboard
from ml.evaluation.metrics import (
    METRICS,
    is_relevant,
    mean_metrics,
    metric_values,
    metrics_of_depth,
    ndcg_of_lists,
    relevance_metrics,
    user_metrics,
)
from ml.evaluation.protocol_line import protocol
from ml.evaluation.rankings import rank
from ml.evaluation.sampled_rankings import PairedSamples, sample_rankings
from ml.evaluation.significance import SeedValues, paired_test
from ml.evaluation.slices import slices_of
from ml.recommender import Recommendations
from ml.release.gate.bounds import NEW_ITEMS, TAIL_ITEMS
from ml.release.gate.cases import best_lists, slices_for_the_gate
from orchestration import dataset_settings
from orchestration.contracts.frames import one_test_item_a_user

PROTOCOL = {"split": "leave-last-k, the last 3 items of a user are test targets"}


def labels_of(length: int, targets: int) -> list[str]:
    """The labels of one history, its last items held out and the one before them for validation."""
    if length <= targets:
        return ["train"] * length
    before = ["train"] * (length - targets)
    if len(before) > 1:
        before[-1] = "validation"
    return before + ["test"] * targets


def made_up(histories: list[list[int]], items: int, targets: int) -> TrainingSet:
    users = np.repeat(np.arange(len(histories)), [len(one) for one in histories])
    splits = [SPLITS.index(label) for one in histories for label in labels_of(len(one), targets)]
    return TrainingSet(
        dataset="Several",
        item_ids=np.array([f"i{number:03d}".encode() for number in range(items)]),
        user_ids=np.array([f"u{number:03d}".encode() for number in range(len(histories))]),
        protocol=dict(PROTOCOL),
        **divided(users, np.concatenate([*map(np.array, histories)]), np.array(splits), len(histories)),
    )


def drawn(seed: int, users: int = 30, items: int = 40, targets: int = 3) -> TrainingSet:
    random = np.random.default_rng(seed)
    lengths = [targets + 3, *random.integers(1, targets + 6, users - 1).tolist()]
    return made_up([random.integers(0, items, length).tolist() for length in lengths], items, targets)


class Lists:
    """Recommends the lists that it is told, in the order of the rows asked for."""

    def __init__(self, items: np.ndarray) -> None:
        scores = -np.broadcast_to(np.arange(items.shape[1], dtype=np.float32), items.shape)
        self.answer = Recommendations(items.astype(np.int32), scores)

    def recommend(self, histories, k, exclude_seen):
        return self.answer


def rankings_of(lists: np.ndarray, training_set: TrainingSet) -> pa.Table:
    return rank(Lists(lists), training_set, "told", seed=0, depth=lists.shape[1], block=10_000)


def by_ranx(lists: np.ndarray, training_set: TrainingSet, metrics: list[str]) -> dict[str, np.ndarray]:
    from ml.evaluation.ranx_export import to_qrels, to_run

    ranx = pytest.importorskip("ranx")
    run = to_run(rankings_of(lists, training_set), training_set)
    qrels = to_qrels(training_set)
    found = {metric: np.empty(len(training_set.test_users)) for metric in metrics}
    ranx.evaluate(qrels, run, metrics, return_mean=False)
    for row, user in enumerate(training_set.user_ids[training_set.test_users]):
        for metric in metrics:
            found[metric][row] = run.scores[metric][user.decode()]
    return found


def measured(seed: int, targets: int, depth: int) -> tuple[TrainingSet, np.ndarray, pa.Table]:
    """A training set with several targets a user, random lists for it, and the metrics of each user."""
    training_set = drawn(seed, targets=targets)
    cases = len(training_set.test_users)
    lists = np.argsort(np.random.default_rng(seed).random((cases, training_set.items)), axis=1)[:, :depth]
    return training_set, lists, user_metrics(rankings_of(lists, training_set), training_set)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), targets=st.integers(2, 6), depth=st.integers(10, 40))
def test_kept_ranks_give_the_metrics_of_the_lists(seed: int, targets: int, depth: int) -> None:
    training_set, lists, table = measured(seed, targets, depth)
    relevant = training_set.relevant()
    metrics = (*metrics_of_depth(depth), "hit_rate@10")
    expected = relevance_metrics(is_relevant(lists, relevant), relevant.lengths, metrics)
    for metric in metrics:
        np.testing.assert_array_equal(metric_values(table, metric), expected[metric], err_msg=metric)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), targets=st.integers(2, 6), depth=st.integers(10, 40))
def test_metrics_of_several_targets_equal_ranx(seed: int, targets: int, depth: int) -> None:
    training_set, lists, table = measured(seed, targets, depth)
    means = mean_metrics(table)
    assert set(means) == {metric for metric in METRICS if int(metric.split("@")[1]) <= depth}
    expected = by_ranx(lists, training_set, list(means))
    for metric, mean in means.items():
        np.testing.assert_allclose(metric_values(table, metric), expected[metric], rtol=0, atol=1e-12, err_msg=metric)
        assert mean == pytest.approx(expected[metric].mean(), abs=1e-12)
    np.testing.assert_allclose(
        ndcg_of_lists(lists[:, :10], training_set), metric_values(table, "ndcg@10"), rtol=0, atol=1e-15
    )
    rows = np.random.default_rng(seed).permutation(len(lists))
    np.testing.assert_array_equal(metric_values(table.take(rows), "map@10"), metric_values(table, "map@10")[rows])
    assert mean_metrics(table.take(rows)) == means


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_one_target_is_the_training_set_of_leave_one_out(seed: int) -> None:
    random = np.random.default_rng(seed)
    histories = [random.integers(0, 9, length).tolist() for length in [2, *random.integers(1, 6, 9)]]
    one = made_up(histories, 9, targets=1)
    assert one.later_targets is None
    assert one.test_targets.tolist() == [row[-1] for row in histories if len(row) > 1]
    # targets in rows of one are the same arrays, and so the same metrics
    lists = np.argsort(random.random((len(one.test_users), 9)), axis=1)
    several = replace(one, later_targets=Sequences.empty(len(one.test_users)))
    plain, general = (user_metrics(rankings_of(lists, data), data) for data in (one, several))
    for metric in ("ndcg@5", "recall@5", "mrr@5", "map@5", "precision@5"):
        np.testing.assert_array_equal(metric_values(plain, metric), metric_values(general, metric))


def test_targets_follow_the_history_and_repeats_count_once(tmp_path: Path) -> None:
    training_set = made_up([[0, 1, 2, 3, 1, 3], [4, 5], [0, 1, 2, 2, 5]], 6, targets=3)
    assert training_set.test_users.tolist() == [0, 2]
    assert [row.tolist() for row in map(training_set.held_out().__getitem__, range(2))] == [[3, 1, 3], [2, 2, 5]]
    assert [row.tolist() for row in map(training_set.relevant().__getitem__, range(2))] == [[1, 3], [2, 5]]
    assert [row.tolist() for row in map(training_set.histories("test").__getitem__, range(2))] == [[0, 1, 2], [0, 1]]
    # too short to be tested, and trained on
    assert training_set.train[1].tolist() == [4, 5]
    assert in_history(training_set).tolist() == [False, True, False, False, False, False]

    everything = training_set.with_everything_trained_on()
    assert everything.train[0].tolist() == [0, 1, 2, 3, 1, 3]
    assert everything.train[2].tolist() == [0, 1, 2, 2, 5]
    assert everything.later_targets is None
    part = training_set.measured_on(training_set.test_users[[1]])
    assert part.held_out()[0].tolist() == [2, 2, 5]

    training_set.save(tmp_path)
    loaded = TrainingSet.load(tmp_path)
    assert loaded.digest() == training_set.digest()
    assert loaded.held_out()[1].tolist() == [2, 2, 5]
    assert replace(training_set, later_targets=None).digest() != training_set.digest()
    assert with_held_out_replaced(training_set).held_out()[0].tolist() != [3, 1, 3]


def test_seen_targets_are_misses_where_seen_items_are_excluded() -> None:
    training_set = made_up([[0, 1, 2, 1, 3], [1, 2, 3, 4, 5], [5, 4, 0, 2, 1]], 12, targets=2)
    popular = BASELINES["most_popular"].create(0).fit(training_set)
    table = user_metrics(rank(popular, training_set, "popular", 0, depth=12, exclude_seen=True), training_set)
    # the first user had item 1 before: it is a target that no list may hold
    assert table["targets"].to_pylist() == [2, 2, 2]
    assert metric_values(table, "recall@10")[0] <= 0.5
    whole = user_metrics(rank(popular, training_set, "popular", 0, depth=12), training_set)
    assert metric_values(whole, "recall@10").min() >= 0.5


def test_a_target_that_is_listed_twice_is_found_once() -> None:
    training_set = made_up([[0, 1, 2, 1, 3], [1, 2, 3, 4, 5]], 12, targets=2)
    # targets are 1 and 3, 4 and 5
    lists = np.array([[7, 1, 1, 8, 9, 1, 6, 10, 11, 3], [5, 5, 0, 1, 2, 6, 7, 8, 9, 10]])
    table = user_metrics(rankings_of(lists, training_set), training_set)
    assert table["target_rank"].to_pylist() == [2, 1]
    assert table["further_ranks"].to_pylist() == [[10], []]
    assert metric_values(table, "recall@10").tolist() == [1, 0.5]


def test_a_user_is_in_the_slice_of_any_target() -> None:
    # item 0 is in every training history, item 7 in none; the targets of user 0 are both popular
    rows = [[0, 1, 0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 0, 1, 0, 7], [0, 1, 0, 1, 0, 1, 7, 0], [0, 1, 0, 1, 0, 1, 1, 1]]
    training_set = made_up(rows, 8, targets=2)
    parts = {part.name: part for part in slices_of(training_set)}
    assert parts["target in training"].buckets.tolist() == [0, 1, 1, 0]
    assert parts["target popularity"].buckets.tolist()[1:3] == [2, 2]
    assert parts["repeated target"].buckets.tolist() == [1, 1, 1, 1]
    gate = slices_for_the_gate(training_set, champion_knows=np.arange(8) != 1)
    assert gate[NEW_ITEMS].tolist() == [True, True, True, True]
    assert slices_for_the_gate(training_set)[NEW_ITEMS].tolist() == [False, True, True, False]
    assert gate[TAIL_ITEMS].tolist()[1:3] == [True, True]


def test_the_gate_tests_one_value_a_user() -> None:
    training_set = drawn(3, users=60)
    random = np.random.default_rng(0)
    tables = [
        user_metrics(
            rankings_of(np.argsort(random.random((len(training_set.test_users), 40)), axis=1)[:, :10], training_set),
            training_set,
        )
        for _ in range(2)
    ]
    values = [metric_values(table, "ndcg@10") for table in tables]
    assert [len(one) for one in values] == [len(training_set.test_users)] * 2
    found = paired_test(*map(SeedValues.of_one_seed, values))
    assert found.interval().mean == pytest.approx((values[0] - values[1]).mean())
    lists = best_lists(rankings_of(np.tile(np.arange(10), (len(values[0]), 1)), training_set), training_set)
    assert ndcg_of_lists(lists, training_set).shape == values[0].shape


def test_samples_say_so_and_are_not_paired() -> None:
    training_set = drawn(4)
    lists = np.tile(np.arange(10), (len(training_set.test_users), 1))
    sample = sample_rankings({"told": rankings_of(lists, training_set)}, training_set)
    pairs = PairedSamples(sample, sample)
    assert pairs.have_several
    assert pairs.ranks("told") is None
    assert pairs.lists("told") is not None
    one = replace(training_set, later_targets=None)
    single = sample_rankings({"told": rankings_of(lists, one)}, one)
    assert not PairedSamples(single, single).have_several


@pytest.fixture
def written(tmp_path: Path):
    """Marts of a small dataset with several targets, with times."""
    random = np.random.default_rng(2)
    rows = []
    for user in range(40):
        length = int(random.integers(2, 9))
        for place, label in enumerate(labels_of(length, 3)):
            rows.append(
                {
                    "user_id": f"u{user:03d}",
                    "position": place,
                    "item_id": f"i{random.integers(20):02d}",
                    "timestamp": 1_400_000_000 + 86_400 * (place // 2) + user,
                    "split": label,
                }
            )
    splits = tmp_path / "splits.parquet"
    pq.write_table(pa.Table.from_pylist(rows), splits)
    for row in rows:
        row |= {"rating": 5.0, "verified": True, "millisecond": 0, "given_position": 0, "given_split": None}
        row |= {"source_file": "a", "file_position": 0, "line_number": row["position"], "duplicate_rows": 0}
        del row["split"]
    interactions = tmp_path / "interactions.parquet"
    schema = pa.Table.from_pylist(rows).schema
    index = schema.get_field_index("given_split")
    pq.write_table(pa.Table.from_pylist(rows, schema.set(index, pa.field("given_split", pa.string()))), interactions)
    training_set = build_training_set("Several", splits, dict(PROTOCOL))
    return training_set, read_interactions(interactions, splits, training_set), splits


def test_audits_that_move_the_target_do_not_apply(written) -> None:
    training_set, interactions, splits = written
    for audit in (audit_ties, audit_duplicates, audit_temporal):
        found = audit(training_set, interactions)
        assert found.outcome == NOT_APPLICABLE, found
        assert "the split holds out several items of a user" in found.verdict
    times = times_of_everything(splits, training_set)
    # the slice by time looks at the first target
    assert "time since the last interaction" in {part.name for part in slices_of(training_set, interactions)}
    everything = training_set.with_everything_trained_on(times)
    assert int(everything.train.lengths.sum()) == len(interactions)


def test_nobody_long_enough_is_refused_in_words(tmp_path: Path) -> None:
    rows = [{"user_id": "u", "position": place, "item_id": f"i{place}", "split": "train"} for place in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "splits.parquet")
    with pytest.raises(SplitError, match=r"0 users to test: .* more than LAST_ITEMS interactions; lower LAST_ITEMS"):
        build_training_set("Short", tmp_path / "splits.parquet", dict(PROTOCOL))


def test_a_leaderboard_says_how_targets_count_and_means_are_over_users() -> None:
    training_set = drawn(5)
    random = np.random.default_rng(1)
    tables = {}
    for name in ("one", "other"):
        lists = np.argsort(random.random((len(training_set.test_users), 40)), axis=1)[:, :20]
        rankings = rank(Lists(lists), training_set, name, seed=0, depth=20, block=10_000)
        tables[name] = user_metrics(rankings, training_set)
    board = build_leaderboard([Entry(name, "baseline", (table,)) for name, table in tables.items()], training_set)
    said = protocol(board)
    numbers = sorted({len(set(user.tolist())) for user in training_set.held_out()})
    several = " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))
    assert said["test targets"] == (
        f"{several} different items a user, each metric is a user's own and then a mean over users"
    )
    for row in board.to_pylist():
        assert row["ndcg@10"] == pytest.approx(metric_values(tables[row["title"]], "ndcg@10").mean(), abs=1e-12)
    one = replace(training_set, later_targets=None)
    assert "test targets" not in protocol(
        build_leaderboard([Entry("one", "baseline", (user_metrics(rankings_of(lists, one), one),))], one)
    )


@pytest.mark.parametrize(("split", "broken"), [("leave-last-k", 0), ("leave-one-out", 3)])
def test_the_contract_counts_targets_up_to_as_many_as_asked(split: str, broken: int, monkeypatch) -> None:
    frame = pd.DataFrame(
        {"user_id": ["a"] * 5 + ["b"] * 4, "split": ["train"] * 2 + ["test"] * 3 + ["train"] * 2 + ["test"] * 2}
    )
    monkeypatch.setattr(dataset_settings, "read_settings", lambda *_: {"split": split, "last_items": 3})
    tested = one_test_item_a_user(frame, "Small").query("split == 'test'")["user_id"]
    assert int(tested.duplicated().sum()) == broken
    more = pd.concat([frame, pd.DataFrame({"user_id": ["a"], "split": ["test"]})], ignore_index=True)
    # a fourth is one too many, and stands beside the first
    assert one_test_item_a_user(more, "Small").query("split == 'test'")["user_id"].duplicated().any()
