"""Recipes that a dataset lacks something for: left out where a set names them, refused where they are named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pytest
from small_dataset import small_training_set

from ml.codes.vectors import VectorPart
from ml.data.item_text import save_item_text
from ml.data.times import Times, save_times
from ml.data.training_set import TrainingSet
from ml.fusion.recipe import FusionRecipe
from ml.models.settings import TimeGapSASRecSettings
from ml.recommenders.registry import codes_recipes, fusions, recipes
from ml.text.vectors import save_text_vectors
from orchestration.assets import models
from orchestration.assets.codes import _codes_asset
from orchestration.assets.evaluation import compared_recommenders
from orchestration.assets.fusions import _fusion_asset
from orchestration.assets.left_out import refusals, sentences
from orchestration.assets.rankings import _ranking_asset
from orchestration.checks import _weights_check
from orchestration.dataset_settings import chosen, named_for
from orchestration.execution.plan import plan
from orchestration.execution.staleness import LEFT_OUT
from orchestration.execution.trainings import Trainings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import Settings

PLAIN = recipes()["tiny_softmax"]
READER = replace(PLAIN, name="reader", set="knowledge", model=replace(PLAIN.model, item_embedding="text"))
_TIMED = TimeGapSASRecSettings(
    **{one.name: getattr(PLAIN.model, one.name, one.default) for one in fields(TimeGapSASRecSettings)}
)
TIMED = replace(PLAIN, name="timed", set="knowledge", architecture="time_gap_sasrec", model=_TIMED)
FUSION = FusionRecipe("readers", "Readers", "none", "for tests", "knowledge", ("reader", "markov_chain"))
WHY = "it reads the text of the items, and no item of Small has a title, brand or category with a word"
SET = Settings(recipes=["knowledge"])
BY_NAME = Settings(recipes=["knowledge", "reader"])
ITEM_TEXT = dg.AssetKey(["training_sets", "item_text"])


def write_text(paths: DatasetPaths, texts: Sequence[str]) -> None:
    training_set = small_training_set().with_text(tuple(texts))
    for name in ("item_text", "text_vectors"):
        paths.asset("training_sets", name).mkdir(parents=True, exist_ok=True)
    save_item_text(paths.asset("training_sets", "item_text"), training_set.item_ids, training_set.item_text)
    save_text_vectors(paths.asset("training_sets", "text_vectors"), training_set)


def write_times(paths: DatasetPaths, training_set: TrainingSet, times: np.ndarray | None) -> None:
    folder = paths.asset("training_sets", "times")
    folder.mkdir(parents=True, exist_ok=True)
    none = np.empty(0, dtype=np.int64)
    made = None if times is None else Times(times, times[: len(training_set.validation_users)], none, none)
    save_times(folder, made, training_set)


def write_settings(settings: Settings) -> None:
    folder = Workspace.current().dataset("Small").asset("settings")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("training", "fit", "ranking", "comparison"):
        (folder / f"{name}.json").write_text(json.dumps(chosen(settings, name)))


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace of a dataset without item text and without times, compared by a set."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    for recipe in (READER, TIMED):
        monkeypatch.setitem(recipes(), recipe.name, recipe)
    monkeypatch.setitem(fusions(), FUSION.name, FUSION)
    paths = Workspace.current().dataset("Small")
    folder = paths.asset("training_sets", "sequences")
    folder.mkdir(parents=True)
    small_training_set().save(folder)
    write_text(paths, ("",) * small_training_set().items)
    write_times(paths, small_training_set(), None)
    write_settings(SET)
    return paths


def make(asset: dg.AssetsDefinition, settings: Settings = SET) -> dg.MaterializeResult:
    offered = {"settings": settings, "training_client": None, "trainings": Trainings(1)}
    resources = {name: offered[name] for name in asset.required_resource_keys & offered.keys()}
    return asset(dg.build_asset_context(partition_key="Small"), **resources)


def is_left_out(made: dg.MaterializeResult) -> bool:
    return made.data_version.value == LEFT_OUT


def test_a_set_leaves_out_what_reads_text_and_all_that_is_built_on_it(paths: DatasetPaths) -> None:
    made = make(models._model_asset(READER))
    assert is_left_out(made)
    assert made.metadata["left out"] == f"reader is left out: {WHY}"
    built_on = make(_fusion_asset(FUSION))
    assert is_left_out(built_on)
    assert built_on.metadata["left out"] == f"readers is left out: it is built on reader, and reader is left out: {WHY}"
    for name in ("reader", "readers"):
        ranked = make(_ranking_asset(name))
        assert is_left_out(ranked)
        assert ranked.metadata["left out"].startswith(f"{name} is left out: it ")
    assert not {"reader", "readers"} & set(compared_recommenders("Small"))
    assert {"most_popular", "tiny_softmax"} <= set(compared_recommenders("Small"))
    assert {text.split()[0] for text in sentences("Small")} == {"reader", "readers"}
    assert not paths.asset("models", "reader").exists()
    found = _weights_check("reader").op.compute_fn.decorated_fn(SimpleNamespace(partition_key="Small"))
    assert found.passed
    assert "nothing to check: reader is left out" in found.description


def test_codes_of_the_vectors_of_what_is_left_out_are_left_out_and_so_is_what_is_built_on_them(
    paths, monkeypatch
) -> None:
    parts = (VectorPart("interactions", 8), VectorPart("recipe", 8, recipe="reader"))
    codes = replace(codes_recipes()["tiny_text"], name="of_reader", vectors=parts)
    coded = replace(recipes()["tiny_recjpq"], name="coded", set="knowledge", codes="of_reader")
    monkeypatch.setitem(codes_recipes(), codes.name, codes)
    monkeypatch.setitem(recipes(), coded.name, coded)
    write_settings(SET)
    made = [make(asset) for asset in (models._model_asset(READER), _codes_asset(codes), models._model_asset(coded))]
    assert all(map(is_left_out, made))
    assert made[1].metadata["left out"] == (
        f"of_reader is left out: it is built on reader, and reader is left out: {WHY}"
    )
    assert made[2].metadata["left out"].startswith("coded is left out: it is built on of_reader, and of_reader is left")
    (said,) = refusals(Settings(recipes=["knowledge", "coded"]), paths, [dg.AssetKey(["models", "coded"])])
    assert said.startswith("recipe coded cannot be made: it is built on reader, and reader cannot be made: it reads")
    # the codes are made once the text has come
    write_text(paths, [f"Title: garden hose {item % 7} green{item}" for item in range(small_training_set().items)])
    again = [make(asset) for asset in (models._model_asset(READER), _codes_asset(codes))]
    assert not any(map(is_left_out, again))


@pytest.mark.parametrize("times", [None, np.arange(300) % 5 * 60])
def test_a_set_leaves_out_what_reads_times_where_they_are_missing_or_made_up(paths, times) -> None:
    write_times(paths, small_training_set(), times)
    made = make(models._model_asset(TIMED))
    assert is_left_out(made)
    assert "timed is left out: it reads the times of interactions, and those of Small" in made.metadata["left out"]


def test_what_is_named_by_name_is_refused_before_it_is_trained(paths: DatasetPaths) -> None:
    with pytest.raises(dg.Failure, match=f"Small: recipe reader cannot be made: {WHY}. Take it out of RECIPES"):
        make(models._model_asset(READER), BY_NAME)
    key = dg.AssetKey(["models", "reader"])
    assert refusals(SET, paths, [key]) == []
    assert [text.split(":")[0] for text in refusals(BY_NAME, paths, [key])] == ["recipe reader cannot be made"]
    fused = Settings(recipes=["knowledge", "readers"])
    (said,) = refusals(fused, paths, [dg.AssetKey(["models", "readers"])])
    assert said.startswith("recipe readers cannot be made: it is built on reader, and reader cannot be made: it reads")
    assert not paths.asset("models").exists()


@pytest.mark.usefixtures("paths")
def test_a_later_run_without_settings_knows_what_was_named_by_name() -> None:
    write_settings(BY_NAME)
    assert named_for(Settings(), "Small") == ["reader"]
    assert named_for(SET, "Small") == []
    with pytest.raises(dg.Failure, match="recipe reader cannot be made"):
        make(models._model_asset(READER), Settings())
    write_settings(SET)
    assert named_for(Settings(), "Small") == []
    # names alone that no dataset can refuse are written down as before
    assert chosen(Settings(recipes=["tiny_softmax"]), "comparison") == {"recipes": ["tiny_softmax"]}


def test_a_model_is_made_once_its_text_has_come(paths: DatasetPaths) -> None:
    model, ranking = models._model_asset(READER), _ranking_asset("reader")
    assert is_left_out(make(model))
    assert is_left_out(make(ranking))
    write_text(paths, [f"Title: garden hose {item % 7} green{item}" for item in range(small_training_set().items)])
    models_made = make(model)
    assert not is_left_out(models_made)
    assert not is_left_out(make(ranking))
    assert "reader" in compared_recommenders("Small")
    assert sentences("Small") == []


def test_the_plan_makes_what_was_left_out_again_where_its_text_has_changed_or_it_is_named(paths) -> None:
    model = models._model_asset(READER)
    resources = {"settings": SET, "training_client": None, "trainings": Trainings(1)}
    resources = {name: dg.ResourceDefinition.hardcoded_resource(one) for name, one in resources.items()}
    graph = dg.Definitions([model], resources=resources).resolve_asset_graph()
    key = dg.AssetKey(["models", "reader"])
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(datasets.name, ["Small"])

        def planned(settings: Settings) -> dict[dg.AssetKey, str]:
            return plan(instance, graph, "Small", settings)

        assert planned(SET) == {key: "not made yet"}
        assert dg.materialize([model], instance=instance, partition_key="Small", resources=resources).success
        assert planned(SET) == {}
        assert planned(BY_NAME) == {key: "not made yet"}
        tags = {"dagster/data_version": "with text"}
        instance.report_runless_asset_event(dg.AssetMaterialization(ITEM_TEXT, partition="Small", tags=tags))
        assert planned(SET) == {key: "training_sets/item_text changed"}
