"""The assets of temporal folds, on a small dataset whose marts and rankings are made here."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.baselines.registry import BASELINES
from ml.data.build_training_set import SPLITS, build_training_set
from ml.data.item_text import save_item_text
from ml.data.timed_interactions import read_interactions
from ml.data.training_set import TrainingSet
from ml.data.variants import temporal_splits
from ml.data.versions import versioned_folder
from ml.evaluation.folds.files import load_folds, load_sizes
from ml.evaluation.metrics import metric_values, user_metrics
from ml.evaluation.rankings import rank, write_table
from ml.text.vectors import save_text_vectors
from orchestration.assets import folds as module
from orchestration.assets.training_sets import sequences
from orchestration.definitions import defs
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import DEFAULTS, Settings

NAMES = ["most_popular", "markov_chain"]
DAY = 86_400


def write_settings(paths: DatasetPaths, **changes: object) -> None:
    values = {**DEFAULTS, "split": "temporal-folds", "validation_users": 0, **changes}
    paths.asset("settings").mkdir(parents=True, exist_ok=True)
    for name in ("folds", "training", "fit", "ranking", "dataset", "comparison"):
        (paths.asset("settings") / f"{name}.json").write_text(json.dumps(values))


def write_marts(paths: DatasetPaths) -> None:
    """40 users who come back now and then, split as the warehouse splits by the default shares."""
    generator = np.random.default_rng(0)
    times = np.sort(generator.integers(0, 300 * DAY, size=(40, 12)), axis=1).ravel()
    count = len(times)
    columns = {
        "user_id": np.repeat([f"U{user:02}" for user in range(40)], 12),
        "position": np.tile(np.arange(12), 40),
        "item_id": np.array([f"B{item:02}" for item in generator.integers(0, 25, size=count)]),
        "timestamp": times,
    }
    ordered = np.sort(times)
    windows = np.searchsorted(ordered[[int(0.8 * count) - 1, int(0.9 * count) - 1]], times, side="right")
    labels = np.array(["train", "history", "unused"], dtype=object)[windows]
    for user in range(40):
        own = np.flatnonzero(columns["user_id"] == f"U{user:02}")
        for window, label in ((1, "validation"), (2, "test")):
            inside = own[windows[own] == window]
            if len(inside) and inside[0] > own[0]:
                labels[inside[0]] = label
    paths.table("marts", "splits").parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**columns, "split": labels.astype(str)}), paths.table("marts", "splits"))
    zeros = np.zeros(count, dtype=np.int64)
    more = {"millisecond": zeros, "file_position": zeros, "line_number": np.arange(count), "duplicate_rows": zeros}
    empty = {"rating": pa.nulls(count, pa.float64()), "given_split": pa.nulls(count, pa.string())}
    pq.write_table(
        pa.table({**columns, **more, "given_position": zeros, **empty}), paths.table("marts", "interactions")
    )


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace in which two baselines were ranked for the last fold."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    paths = Workspace.current().dataset("Small")
    write_settings(paths)
    write_marts(paths)
    protocol = {"split": "global-temporal", "seed": 0, "validation_users": 0}
    training_set = build_training_set("Small", paths.table("marts", "splits"), protocol)
    training_set = training_set.with_text(tuple(f"Title: item {item}" for item in range(training_set.items)))
    with versioned_folder(paths.asset("training_sets", "sequences")) as folder:
        training_set.save(folder)
    with versioned_folder(paths.asset("training_sets", "item_text")) as folder:
        save_item_text(folder, training_set.item_ids, training_set.item_text)
    with versioned_folder(paths.asset("training_sets", "text_vectors")) as folder:
        save_text_vectors(folder, training_set)
    for folder in (paths.asset("rankings"), paths.asset("evaluation", "user_metrics")):
        folder.mkdir(parents=True)
    for name in NAMES:
        write_rankings(paths, training_set, name)
    monkeypatch.setattr(module, "compared_recommenders", lambda _: NAMES)
    return paths


def write_rankings(paths: DatasetPaths, training_set: TrainingSet, name: str, of: str = "") -> None:
    rankings = rank(BASELINES[of or name].create().fit(training_set), training_set, name, seed=0)
    write_table(rankings, paths.asset("rankings") / f"{name}.parquet")
    write_table(user_metrics(rankings, training_set), paths.asset("evaluation", "user_metrics") / f"{name}.parquet")


def make(asset) -> dg.MaterializeResult:
    arguments = {"settings": Settings()} if asset is module.earlier_folds else {}
    return asset(dg.build_asset_context(partition_key="Small"), **arguments)


def test_recommenders_are_fitted_in_each_fold_and_compared_over_all(paths: DatasetPaths) -> None:
    made = make(module.earlier_folds)
    folder = paths.asset("evaluation", "earlier_folds")
    assert {path.name for path in folder.glob("*.parquet")} == {
        f"{name}@{fold}.parquet" for name in NAMES for fold in (1, 2)
    }
    assert (made.metadata["fits"], made.metadata["kept"]) == (4, 0)
    sizes = load_sizes(folder / "folds.json")
    training_set = TrainingSet.load(paths.asset("training_sets", "sequences"))
    marts = (paths.table("marts", name) for name in ("interactions", "splits"))
    interactions = read_interactions(*marts, training_set)
    make(module.folds)
    found = load_folds(paths.asset("evaluation") / "folds.parquet")
    assert found.folds == sizes
    assert {row.recommender for row in found.rows} == set(NAMES)
    for at, one in enumerate(sizes):
        # counted by hand, from what each interaction is for
        splits = temporal_splits(training_set, interactions, one.fold.boundaries)
        known = np.bincount(interactions.items[splits == SPLITS.index("train")], minlength=training_set.items)
        ten = np.argsort(-known, kind="stable")[:10]
        popular = next(row for row in found.rows if row.recommender == "most_popular")
        targets = interactions.items[splits == SPLITS.index("test")]
        # beyond those that share the count of the tenth
        certain = {item for item in ten.tolist() if known[item] > known[ten[-1]]}
        possible = {item for item in range(training_set.items) if known[item] >= known[ten[-1]]}
        bounds = (np.isin(targets, list(certain)).mean(), np.isin(targets, list(possible)).mean())
        assert bounds[0] <= popular.recall[at] <= bounds[1]
    last = pq.read_table(paths.asset("evaluation", "user_metrics") / "most_popular.parquet")
    assert popular.ndcg[-1] == metric_values(last, "ndcg@10").mean()


def test_what_has_the_same_inputs_is_not_fitted_again(paths: DatasetPaths) -> None:
    first = make(module.earlier_folds)
    again = make(module.earlier_folds)
    assert again.data_version == first.data_version
    assert (again.metadata["fits"], again.metadata["kept"]) == (0, 4)
    # another model for one of them
    training_set = TrainingSet.load(paths.asset("training_sets", "sequences"))
    write_rankings(paths, training_set, "markov_chain", of="repeat_last")
    assert (made := make(module.earlier_folds)).metadata["fits"] == 2
    assert made.metadata["kept"] == 2
    # one fold more before those that are there
    write_settings(paths, folds=4)
    assert (made := make(module.earlier_folds)).metadata["fits"] == 2
    assert made.metadata["kept"] == 4
    assert made.data_version != first.data_version
    write_settings(paths, folds=4, seed=1)
    assert make(module.earlier_folds).metadata["fits"] == 6


def test_another_split_has_no_folds(paths: DatasetPaths) -> None:
    make(module.earlier_folds)
    write_settings(paths, split="global-temporal")
    assert make(module.earlier_folds).metadata["dagster/row_count"] == 0
    assert not list(paths.asset("evaluation", "earlier_folds").glob("*.parquet"))
    made = make(module.folds)
    assert made.metadata["dagster/row_count"] == 0
    assert "folds" not in made.metadata


def test_a_fold_that_cannot_be_stops_the_training_set(paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.assets.training_sets.require_passed_checks", lambda _: None)
    assert make(sequences).metadata["test_cases"] > 0
    write_settings(paths, folds=9)
    with pytest.raises(
        dg.Failure, match=r"Small: SPLIT=temporal-folds with FOLDS=9 is not possible: .* fold 1 has none"
    ):
        make(sequences)
    write_settings(paths, folds=20, fold_days=1)
    with pytest.raises(dg.Failure, match=r"Small: fold \d+ \(validation from .*\) has \d users to .*: lower FOLDS"):
        make(sequences)


def test_the_report_depends_on_it() -> None:
    graph = defs.resolve_asset_graph()
    assert dg.AssetKey(["evaluation", "folds"]) in graph.get(dg.AssetKey(["evaluation", "report"])).parent_keys
