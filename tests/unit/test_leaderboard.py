"""The leaderboard and its intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recommender_factories import made_up_training_set

from ml.baselines import BASELINES
from ml.evaluation.intervals import bootstrap_interval
from ml.evaluation.leaderboard import (
    Entry,
    build_leaderboard,
    protocol,
    protocol_line,
    to_text_table,
)
from ml.evaluation.metrics import METRICS, mean_metrics, user_metrics
from ml.evaluation.rankings import RankingError, rank, write_table


@pytest.fixture(scope="module")
def training_set():
    return replace(
        made_up_training_set(),
        protocol={"split": "leave-one-out", "k_core": 0, "tie_order": "hash", "validation_users": 17},
    )


def evaluated(name: str, training_set, seed: int = 0, depth: int = 20, exclude_seen: bool = False) -> pa.Table:
    recommender = BASELINES[name].create(seed).fit(training_set)
    rankings = rank(recommender, training_set, name, seed, depth=depth, exclude_seen=exclude_seen)
    return user_metrics(rankings, training_set)


@pytest.fixture(scope="module")
def baselines(training_set) -> list[Entry]:
    return [Entry(baseline.title, "baseline", evaluated(name, training_set)) for name, baseline in BASELINES.items()]


def moved(entry: Entry, name: str, ndcg: np.ndarray, **changes) -> Entry:
    """The entry with other values of nDCG@10, under another name."""
    table = entry.user_metrics
    table = table.set_column(table.schema.get_field_index("ndcg@10"), "ndcg@10", pa.array(ndcg))
    about = table.schema.metadata[b"raw2rank"].replace(f'"{table["recommender"][0]}"'.encode(), f'"{name}"'.encode())
    names = pa.array([name] * table.num_rows)
    table = table.set_column(1, "recommender", names).replace_schema_metadata({b"raw2rank": about})
    return replace(entry, user_metrics=table, **changes)


def test_interval_is_that_of_drawing_users_one_by_one():
    rng = np.random.default_rng(1)
    values = np.where(rng.random(400) < 0.2, 1 / np.log2(rng.integers(2, 12, 400)), 0.0)
    interval = bootstrap_interval(values, seed=0)
    drawn = values[rng.integers(0, 400, (10_000, 400))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(low, abs=0.002)
    assert interval.high == pytest.approx(high, abs=0.002)
    assert interval.low < interval.mean < interval.high


def test_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    held = 0
    for trial in range(400):
        interval = bootstrap_interval((rng.random(300) < 0.3).astype(float), seed=trial, resamples=1000)
        held += interval.low <= 0.3 <= interval.high
    assert 0.92 <= held / 400 <= 0.975


def test_interval_of_what_does_not_vary_has_no_width():
    interval = bootstrap_interval(np.full(50, 0.25), seed=0)
    assert interval.low == interval.mean == interval.high == 0.25
    assert bootstrap_interval(np.zeros(3), seed=0).holds_zero


def test_interval_follows_its_seed_and_not_the_order_of_users():
    values = np.random.default_rng(3).random(100)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    again = bootstrap_interval(values[::-1], seed=1)
    assert (again.low, again.high) == (
        bootstrap_interval(values, seed=1).low,
        bootstrap_interval(values, seed=1).high,
    )
    with pytest.raises(ValueError, match="at least one user"):
        bootstrap_interval(np.empty(0), seed=0)


def test_rows_are_ranked_and_hold_the_metrics(baselines, training_set):
    table = build_leaderboard(baselines, training_set)
    records = table.to_pylist()
    assert [record["position"] for record in records] == list(range(1, len(BASELINES) + 1))
    ndcg = [record["ndcg@10"] for record in records]
    assert ndcg == sorted(ndcg, reverse=True)
    by_name = {entry.user_metrics["recommender"][0].as_py(): entry for entry in baselines}
    for record in records:
        entry = by_name[record["recommender"]]
        assert {metric: record[metric] for metric in METRICS} == mean_metrics(entry.user_metrics)
        assert record["title"] == entry.title
        assert record["ndcg@10_low"] <= record["ndcg@10"] <= record["ndcg@10_high"]
        assert (record["users"], record["catalogue"]) == (65, 40)
        assert (record["fit_on"], record["loss"], record["parameters"]) == ("train", None, None)


def test_order_of_entries_does_not_matter(baselines, training_set):
    one, other = (build_leaderboard(entries, training_set) for entries in (baselines, baselines[::-1]))
    assert one.equals(other, check_metadata=True)


def test_rows_do_not_change_with_what_stands_beside_them(baselines, training_set):
    whole = {row["recommender"]: row for row in build_leaderboard(baselines, training_set).to_pylist()}
    best = next(iter(whole))
    some = [one for one in baselines if one.user_metrics["recommender"][0].as_py() in (best, "random")]
    for row in build_leaderboard(some, training_set).to_pylist():
        assert {**row, "position": 0} == {**whole[row["recommender"]], "position": 0}


def test_comparisons_are_paired_and_with_the_best_baseline(baselines, training_set):
    best = max(baselines, key=lambda entry: mean_metrics(entry.user_metrics)["ndcg@10"])
    reference = best.user_metrics["ndcg@10"].to_numpy()
    # a small gain for nearly every user is told apart though both intervals overlap widely
    gain = np.where(np.arange(65) < 60, 0.02, 0.0)
    model = {"kind": "model", "parameters": 1234, "model_bytes": 5678, "loss": "sampled softmax"}
    entries = [
        *baselines,
        moved(best, "better", reference + gain, title="Better", **model),
        moved(best, "worse", reference - gain, title="Worse", **model),
        moved(best, "same", np.roll(reference, 1), title="Same", **model),
        moved(best, "equal", reference, title="Equal", **model),
    ]
    rows = {row["recommender"]: row for row in build_leaderboard(entries, training_set).to_pylist()}
    name = best.user_metrics["recommender"][0].as_py()
    assert rows[name]["difference"] is rows[name]["finding"] is rows[name]["reference"] is None
    assert rows["better"]["position"] == 1
    assert rows["better"]["reference"] == name
    assert rows["better"]["difference"] == pytest.approx(0.02 * 60 / 65)
    assert rows["better"]["ndcg@10_low"] < rows[name]["ndcg@10_high"]
    assert 0 < rows["better"]["difference_low"] < rows["better"]["difference_high"]
    assert [rows[one]["finding"] for one in ("better", "worse", "same", "equal")] == [
        "better",
        "worse",
        "not told apart",
        "not told apart",
    ]
    assert rows["better"]["verdict"].startswith(f"better than {best.title} by 0.0185 (95 % interval +0.0")
    assert rows["worse"]["verdict"].startswith(f"worse than {best.title} by 0.0185 (95 % interval -0.0")
    assert rows["same"]["verdict"].startswith(f"not told apart from {best.title}: difference +0.0000, 95 %")
    paired = bootstrap_interval(np.roll(reference, 1) - reference, seed=0)
    assert rows["same"]["difference_low"] == paired.low < 0 < paired.high == rows["same"]["difference_high"]
    assert (rows["better"]["parameters"], rows["better"]["model_bytes"]) == (1234, 5678)
    assert rows["random"]["finding"] in ("worse", "not told apart")


def test_without_a_baseline_nothing_is_compared(baselines, training_set):
    alone = [replace(entry, kind="model") for entry in baselines]
    table = build_leaderboard(alone, training_set)
    assert table["reference"].null_count == table["verdict"].null_count == len(BASELINES)


def test_protocol_says_what_the_numbers_depend_on(baselines, training_set):
    model = replace(baselines[0], kind="model", title="SASRec", loss="sampled softmax", fit_on="train + validation")
    table = build_leaderboard([model, *baselines[1:]], training_set)
    choices = protocol(table)
    assert choices["split"] == "leave-one-out"
    assert choices["k-core"] == "none"
    assert choices["order of ties in time"] == "hash"
    assert choices["ranked"] == "the whole catalogue, 40 items"
    assert choices["seen items"] == "not excluded"
    assert choices["fit on"] == "train; train + validation"
    assert choices["seeds"] == "0"
    assert choices["losses"] == "SASRec (sampled softmax)"
    assert protocol_line(table).startswith("split: leave-one-out; k-core: none; order of ties in time: hash;")
    excluded = Entry("Random", "baseline", evaluated("random", training_set, exclude_seen=True))
    assert protocol(build_leaderboard([excluded], training_set))["seen items"] == "excluded"


def test_what_cannot_be_compared_is_refused(baselines, training_set):
    with pytest.raises(RankingError, match="no recommender"):
        build_leaderboard([], training_set)
    with pytest.raises(RankingError, match="random with seed 0 stands twice"):
        build_leaderboard([baselines[0], baselines[0]], training_set)
    excluded = Entry("Random", "baseline", evaluated("random", training_set, exclude_seen=True))
    with pytest.raises(RankingError, match=r"one exclude_seen \(.*random True"):
        build_leaderboard([baselines[1], excluded], training_set)
    with pytest.raises(RankingError, match="one depth"):
        build_leaderboard(
            [baselines[1], Entry("R", "model", evaluated("random", training_set, depth=10))], training_set
        )
    with pytest.raises(RankingError, match=r"too short for ndcg@10"):
        build_leaderboard([Entry("R", "model", evaluated("random", training_set, depth=9))], training_set)
    with pytest.raises(RankingError, match="random was evaluated on another training set"):
        build_leaderboard(baselines, replace(training_set, test_targets=np.roll(training_set.test_targets, 1)))
    fewer = replace(baselines[1], user_metrics=baselines[1].user_metrics.slice(1))
    with pytest.raises(RankingError, match="popularity_sampling was evaluated on other users"):
        build_leaderboard([baselines[0], fewer], training_set)
    with pytest.raises(ValueError, match="a baseline, a model or a fusion, not 'oracle'"):
        Entry("Oracle", "oracle", baselines[0].user_metrics)


def test_is_kept_whole_in_a_file_of_equal_bytes(baselines, training_set, tmp_path):
    for name in ("one", "two"):
        write_table(build_leaderboard(baselines, training_set), tmp_path / f"{name}.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    table = pq.read_table(tmp_path / "one.parquet")
    assert table.equals(build_leaderboard(baselines, training_set), check_metadata=True)
    assert protocol(table)["split"] == "leave-one-out"


def test_the_printed_table_holds_every_row(baselines, training_set):
    model = replace(baselines[0], kind="model", title="A model", loss="softmax")
    table = build_leaderboard([model, *baselines[1:]], training_set)
    lines = to_text_table(table, seconds={"random": 12.34}).splitlines()
    assert lines[0].split()[:4] == ["#", "Recommender", "Kind", "nDCG@10"]
    for record, line in zip(table.to_pylist(), lines[2 : 2 + len(BASELINES)], strict=True):
        assert f"{record['ndcg@10']:.4f}" in line
        assert record["title"] in line
        assert ("12.3" in line) == (record["recommender"] == "random")
    assert lines[-1].endswith("resamples.")
    assert "Fit, s" not in to_text_table(table)


def test_seeds_are_printed_where_models_differ_by_them(training_set):
    models = [Entry("SASRec", "model", evaluated("random", training_set, seed=seed), loss="softmax") for seed in (1, 2)]
    text = to_text_table(build_leaderboard(models, training_set))
    assert "SASRec, seed 1" in text
    assert "SASRec, seed 2" in text
