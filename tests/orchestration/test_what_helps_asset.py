"""The asset evaluation/what_helps: chosen recommenders beside their plain counterparts, under all seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from small_dataset import small_training_set

from ml.baselines.registry import BASELINES
from ml.evaluation.metrics import user_metrics
from ml.evaluation.rankings import rank, write_table
from ml.evaluation.what_helps.content import WhatHelps
from ml.evaluation.what_helps.files import load_what_helps
from ml.recommenders.registry import Registry, registry
from orchestration.assets import evaluation
from orchestration.assets import what_helps as module
from orchestration.definitions import defs
from orchestration.paths import DatasetPaths, Workspace

TITLES = {"timed": "Timed", "tiny_softmax": "Tiny", "bm25_last_item": "BM25", "two_hop_graph": "Two-hop graph"}
# what stands for each recommender, of the baselines that are fitted in no time
STAND_INS = {"timed": "markov_chain", "tiny_softmax": "most_popular", "bm25_last_item": "repeat_last"}


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace in which a model, its plain counterpart with two seeds, and two baselines were measured."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    paths = Workspace.current().dataset("Small")
    folders = {name: paths.asset("evaluation", name) for name in ("user_metrics", "further_seeds")}
    for folder in (*folders.values(), paths.asset("training_sets", "sequences"), paths.asset("settings")):
        folder.mkdir(parents=True)
    training_set = small_training_set()
    training_set.save(paths.asset("training_sets", "sequences"))
    (paths.asset("settings") / "comparison.json").write_text(json.dumps({"recipes": ["timed"]}))
    for name in TITLES:
        fitted = BASELINES[STAND_INS.get(name, name)].create().fit(training_set)
        measured = {seed: user_metrics(rank(fitted, training_set, name, seed), training_set) for seed in (0, 1)}
        write_table(measured[0], folders["user_metrics"] / f"{name}.parquet")
        if name == "tiny_softmax":
            write_table(measured[1], folders["further_seeds"] / f"{name}@1.parquet")
    tiny = registry().recipes["tiny_softmax"]
    known = Registry({"tiny_softmax": tiny, "timed": replace(tiny, family="time", plain="tiny_softmax")}, {})
    monkeypatch.setattr(module, "registry", lambda: known)
    monkeypatch.setattr(module, "title_of", TITLES.__getitem__)
    _compare(monkeypatch, list(TITLES))
    return paths


def _compare(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    for where in (module, evaluation):
        monkeypatch.setattr(where, "compared_recommenders", lambda dataset: names)


def make() -> dg.MaterializeResult:
    return module.what_helps(dg.build_asset_context(partition_key="Small"))


def found(paths: DatasetPaths) -> WhatHelps:
    return load_what_helps(paths.asset("evaluation") / "what_helps.parquet")


def test_models_and_baselines_are_compared_with_their_plain_counterparts(paths: DatasetPaths) -> None:
    made = make()
    everyone = [gain for gain in found(paths).gains if gain.part == "all test users"]
    assert [(gain.title, gain.family, gain.plain_title, gain.seeds, gain.plain_seeds) for gain in everyone] == [
        ("BM25", "text", "Two-hop graph", 1, 1),
        ("Timed", "time", "Tiny", 1, 2),
    ]
    assert made.metadata["dagster/row_count"] == len(found(paths).gains)
    assert "Timed" in made.metadata["what helps"].md_str
    assert make().data_version == made.data_version


def test_a_plain_counterpart_that_was_not_run_is_named(paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make().data_version
    _compare(monkeypatch, ["timed", "two_hop_graph"])
    monkeypatch.setattr(module, "title_of", TITLES.__getitem__)
    made = make()
    assert found(paths) == WhatHelps(left_out=(("Timed", "tiny_softmax"),))
    assert made.data_version != before
    assert "not compared" in made.metadata["what helps"].md_str


def test_baselines_alone_give_an_empty_table(paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    _compare(monkeypatch, ["bm25_last_item", "two_hop_graph"])
    made = make()
    assert found(paths) == WhatHelps()
    assert made.metadata["dagster/row_count"] == 0
    assert "what helps" not in made.metadata


def test_the_report_depends_on_it() -> None:
    graph = defs.resolve_asset_graph()
    assert dg.AssetKey(["evaluation", "what_helps"]) in graph.get(dg.AssetKey(["evaluation", "report"])).parent_keys
