"""The asset evaluation/beyond_accuracy: what was chosen is measured, what the dataset cannot have is left out."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from small_dataset import ITEMS, small_training_set

from ml.baselines.registry import BASELINES
from ml.data.item_text import save_item_text
from ml.data.training_set import TrainingSet
from ml.evaluation.trade_offs.content import TradeOffs
from ml.evaluation.trade_offs.files import load_trade_offs
from ml.recommenders.facts import FIT
from ml.recommenders.registry import Registry
from ml.reranking.recipe import RerankingRecipe
from ml.text.vectors import save_text_vectors
from orchestration.assets import beyond_accuracy as module
from orchestration.assets import rankings
from orchestration.definitions import defs
from orchestration.paths import DatasetPaths, Workspace

MMR = RerankingRecipe(
    "mmr", "MMR", "none", "", "beyond_accuracy", "markov_chain", "mmr",
    ("category_diversity", "co_occurrence_diversity"), "validation", 20,
)  # fmt: skip


def made_up_training_set(categories: int) -> TrainingSet:
    labels = [f"Kind {item % categories}" if categories else "Unknown" for item in range(ITEMS)]
    return small_training_set(
        tuple(
            f"Title: hose {item} Brand: Unknown Category: {label} Price: Unknown" for item, label in enumerate(labels)
        )
    )


def write(paths: DatasetPaths, training_set: TrainingSet) -> None:
    part = paths.recommender("markov_chain")
    folders = {name: paths.asset("training_sets", name) for name in ("sequences", "item_text", "text_vectors")}
    for folder in (part, *folders.values()):
        folder.mkdir(parents=True, exist_ok=True)
    training_set.save(folders["sequences"])
    save_item_text(folders["item_text"], training_set.item_ids, training_set.item_text)
    save_text_vectors(folders["text_vectors"], training_set)
    BASELINES["markov_chain"].create(3).fit(training_set).save(part)
    (part / FIT).write_text('{"fit_on": "train"}')


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace with a baseline, and a re-ranking of it that is chosen."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    paths = Workspace.current().dataset("Small")
    write(paths, made_up_training_set(5))
    paths.asset("settings").mkdir()
    for name, values in {
        "training": {"seed": 3},
        "fit": {"fit_on": "train"},
        "ranking": {"exclude_seen": False},
        "comparison": {"recipes": []},
    }.items():
        (paths.asset("settings") / f"{name}.json").write_text(json.dumps(values))
    registry = Registry({}, {}, {}, {"mmr": MMR})
    for module_ in (module, rankings):
        monkeypatch.setattr(module_, "registry", lambda: registry)
    monkeypatch.setattr(module, "compared_recommenders", lambda dataset: [*BASELINES, "mmr"])
    # the re-ranking is of this test alone
    monkeypatch.setattr(module, "any_reads_times", lambda names: False)
    return paths


def make() -> dg.MaterializeResult:
    return module.beyond_accuracy(dg.build_asset_context(partition_key="Small"))


def found(paths: DatasetPaths) -> TradeOffs:
    return load_trade_offs(paths.asset("evaluation", "beyond_accuracy"))


def test_a_series_for_each_goal_of_a_re_ranking(paths: DatasetPaths) -> None:
    made = make()
    series = found(paths).series
    assert [(one.name, one.goal, len(one.points)) for one in series] == [
        ("mmr", "category_diversity", 11),
        ("mmr", "co_occurrence_diversity", 11),
    ]
    assert found(paths).left_out == ()
    assert made.metadata["dagster/row_count"] == 22
    assert made.metadata["series"] == 2
    assert "Hypervolumes" in made.metadata["trade-offs"].md_str
    folder = paths.asset("evaluation", "beyond_accuracy")
    assert {path.name for path in folder.iterdir()} == {"points.parquet", "trade_offs.json"}
    # made again, it is the same
    assert make().data_version == made.data_version


def test_a_goal_that_the_dataset_cannot_have_is_left_out(paths: DatasetPaths) -> None:
    write(paths, made_up_training_set(0))
    make()
    assert [one.goal for one in found(paths).series] == ["co_occurrence_diversity"]
    (sentence,) = found(paths).left_out
    assert sentence.startswith("the items of Small have no categories")


def test_where_nothing_trades_accuracy_it_is_empty(paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "compared_recommenders", lambda dataset: [*BASELINES])
    made = make()
    assert found(paths) == TradeOffs(60, 60)
    assert made.metadata["dagster/row_count"] == 0
    assert "trade-offs" not in made.metadata


def test_it_depends_on_every_recommender_and_the_report_on_it() -> None:
    graph = defs.resolve_asset_graph()
    parents = graph.get(dg.AssetKey(["evaluation", "beyond_accuracy"])).parent_keys
    assert {dg.AssetKey(["models", "mmr_0.3_of_tiny_fusion"]), dg.AssetKey(["baselines", "markov_chain"])} <= parents
    report = graph.get(dg.AssetKey(["evaluation", "report"])).parent_keys
    assert dg.AssetKey(["evaluation", "beyond_accuracy"]) in report
