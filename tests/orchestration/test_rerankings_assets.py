"""Re-rankings as assets: goal and tradeoff are chosen on the dataset, and what is missing is said."""

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from small_dataset import small_training_set

from ml.baselines.registry import BASELINES
from ml.data.item_text import save_item_text
from ml.data.training_set import TrainingSet
from ml.recommenders.facts import FIT
from ml.recommenders.reranked import Reranked
from ml.reranking.recipe import RerankingRecipe
from ml.text.vectors import save_text_vectors
from orchestration.assets import rerankings
from orchestration.definitions import defs
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import Settings

RECIPE = RerankingRecipe(
    "mmr_0.3_of_markov_chain", "MMR", "none", "", "beyond_accuracy", "markov_chain", "mmr",
    ("co_occurrence_diversity",), "validation", 20,
)  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace with the part of the re-ranking, where every recipe is chosen."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setattr(rerankings, "require_chosen", lambda *_: None)
    paths = Workspace.current().dataset("Small")
    write(paths, small_training_set())
    paths.asset("settings").mkdir()
    for name, values in {
        "training": {"seed": 3},
        "fit": {"fit_on": "train"},
        "ranking": {"exclude_seen": True},
    }.items():
        (paths.asset("settings") / f"{name}.json").write_text(json.dumps(values))
    return paths


def write(paths: DatasetPaths, training_set: TrainingSet) -> None:
    folder, part = paths.asset("training_sets", "sequences"), paths.recommender("markov_chain")
    for made in (folder, part):
        made.mkdir(parents=True, exist_ok=True)
    training_set.save(folder)
    BASELINES["markov_chain"].create(3).fit(training_set).save(part)
    (part / FIT).write_text('{"fit_on": "train"}')


def make(recipe: RerankingRecipe) -> dg.MaterializeResult:
    asset = rerankings._reranking_asset(recipe)
    return asset(dg.build_asset_context(partition_key="Small"), settings=Settings())


def test_goal_and_tradeoff_are_chosen_on_the_dataset(paths: DatasetPaths) -> None:
    made = make(RECIPE)
    training_set = small_training_set()
    expected = Reranked(RECIPE, BASELINES["markov_chain"].create(3), exclude_seen=True, seed=3).fit(training_set)
    metadata = made.metadata
    assert metadata["goal"] == "co_occurrence_diversity"
    assert metadata["of"] == "markov_chain"
    assert metadata["tradeoff"] == expected.reranking.tradeoff
    assert metadata["validation ndcg@10"] == list(expected.chosen.validation_ndcg_at_10)
    folder = paths.asset("models", RECIPE.name)
    assert {path.name for path in folder.iterdir()} == {"reranking.json", "vectors.npy", "fit.json"}
    # made again, it is the same, and so it is under another title
    for same in (RECIPE, replace(RECIPE, title="Another", notes="More.")):
        assert make(same).data_version == made.data_version
    assert make(replace(RECIPE, candidates=25)).data_version != made.data_version


def test_a_re_ranking_for_popularity_reads_no_text(paths: DatasetPaths) -> None:
    made = make(replace(RECIPE, goals=("popularity",), method="greedy", tradeoff=0.5))
    assert made.metadata["goal"] == "popularity"
    assert "tradeoffs" not in made.metadata
    assert {path.name for path in paths.asset("models", RECIPE.name).iterdir()} == {
        "reranking.json", "values.npy", "fit.json",
    }  # fmt: skip


def test_the_goal_that_was_taken_is_said(paths: DatasetPaths, capfd: pytest.CaptureFixture[str]) -> None:
    with_text(paths)
    made = make(replace(RECIPE, goals=("category_diversity", "text_diversity")))
    assert made.metadata["goal"] == "text_diversity"
    said = "the items of Small do not have what the goal category_diversity needs: mmr_0.3_of_markov_chain is re-ranked"
    assert said in capfd.readouterr().err


def test_a_dataset_without_any_of_the_goals_fails_in_one_sentence(paths: DatasetPaths) -> None:
    with_text(paths)
    with pytest.raises(dg.Failure, match=r"Small: .*no categories.*goal category_diversity .*choose one of text_div"):
        make(replace(RECIPE, goals=("category_diversity",)))
    assert not paths.asset("models", RECIPE.name).exists()


def with_text(paths: DatasetPaths) -> None:
    """Write texts without categories, and vectors of them."""
    texts = tuple(f"Title: garden hose {item % 7} green{item}" for item in range(40))
    training_set = small_training_set().with_text(texts)
    for name in ("item_text", "text_vectors"):
        paths.asset("training_sets", name).mkdir(parents=True)
    save_item_text(paths.asset("training_sets", "item_text"), training_set.item_ids, texts)
    save_text_vectors(paths.asset("training_sets", "text_vectors"), training_set)


def test_without_validation_users_the_tradeoff_is_fixed_and_said(
    paths: DatasetPaths, capfd: pytest.CaptureFixture[str]
) -> None:
    none = np.empty(0, np.int32)
    write(paths, replace(small_training_set(), validation_users=none, validation_targets=none))
    assert make(RECIPE).metadata["tradeoff"] == 0.3
    said = "Small has no validation users to choose the tradeoff of mmr_0.3_of_markov_chain on: it is 0.3"
    assert said in capfd.readouterr().err


def test_a_re_ranking_that_was_not_chosen_is_refused(paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("RAW2RANK_HOME", str(paths.lake.parents[1]))
    asset = defs.get_repository_def().assets_defs_by_key[dg.AssetKey(["models", "mmr_0.3_of_tiny_fusion"])]
    with pytest.raises(dg.Failure, match=r"models/mmr_0\.3_of_tiny_fusion: not among the recipes chosen"):
        asset(dg.build_asset_context(partition_key="Small"), settings=Settings())
