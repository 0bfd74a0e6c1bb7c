"""Codes as assets: made from the training set, and from the text vectors where the recipe quantises them."""

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from plan_bench import materialize, settle
from small_dataset import ITEMS, small_training_set

from ml.codes.codes import Codes
from ml.codes.recipe import CodesRecipe
from ml.codes.vectors import VectorPart
from ml.data.item_text import save_item_text
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, TrainingSet
from ml.recommenders.item_vectors import item_vectors
from ml.recommenders.registry import codes_recipes, recipes
from ml.text.tf_idf_svd import TfIdfSvd
from ml.text.vectors import save_text_vectors
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.train import train
from orchestration.assets.codes import _codes_asset
from orchestration.assets.models import _model_asset
from orchestration.definitions import defs
from orchestration.execution.plan import plan
from orchestration.execution.trainings import Trainings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import Settings

OF_VECTORS = dg.AssetKey(["codes", "of_vectors"])


@pytest.fixture
def training_set() -> TrainingSet:
    return small_training_set(tuple(f"garden hose {item % 7} green{item}" for item in range(ITEMS)))


@pytest.fixture
def paths(training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace with what codes are made from."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    paths = Workspace.current().dataset("Small")
    for name in ("sequences", "item_text", "text_vectors"):
        paths.asset("training_sets", name).mkdir(parents=True)
    training_set.save(paths.asset("training_sets", "sequences"))
    save_item_text(paths.asset("training_sets", "item_text"), training_set.item_ids, training_set.item_text)
    save_text_vectors(paths.asset("training_sets", "text_vectors"), training_set)
    paths.asset("settings").mkdir()
    (paths.asset("settings") / "training.json").write_text('{"seed": 3}')
    return paths


@pytest.mark.parametrize("name", ["svd", "tiny_text"])
def test_codes_are_those_of_the_recipe(
    name: str, training_set: TrainingSet, paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = codes_recipes()[name].assign(training_set, seed=3)
    monkeypatch.setattr("orchestration.assets.codes.require_chosen", lambda *_: None)

    def again(*_: object) -> np.ndarray:
        raise AssertionError("the vectors of the text are read, and not computed again")

    monkeypatch.setattr(TfIdfSvd, "encode", again)
    asset = defs.get_repository_def().assets_defs_by_key[dg.AssetKey(["codes", name])]
    made = asset(dg.build_asset_context(partition_key="Small"), settings=Settings())
    saved = Codes.load(paths.asset("codes", name))
    assert saved.digest() == expected.digest()
    assert saved.book_sizes == expected.book_sizes
    assert made.data_version.value == expected.digest()[:32]
    assert made.metadata["book_sizes"] == list(expected.book_sizes)
    assert saved.report == expected.report
    use, prefixes, knowledge = (
        made.metadata[name].value.splitlines() for name in ("use_of_code_books", "prefixes", "knowledge_of_the_items")
    )
    # headings, a row a book, and a note
    assert len(use) == 2 + saved.books + 2
    # 40 items have 40 first codes
    assert prefixes[2].startswith("| 1 | 40 | 40.0 | 40 | ")
    assert "| not resolved |" in knowledge[2]


def test_codes_that_no_chosen_recipe_needs_are_refused(paths: DatasetPaths) -> None:
    asset = defs.get_repository_def().assets_defs_by_key[dg.AssetKey(["codes", "tiny_text"])]
    with pytest.raises(dg.Failure, match="codes/tiny_text: not among the recipes chosen"):
        asset(dg.build_asset_context(partition_key="Small"), settings=Settings())
    assert not paths.asset("codes", "tiny_text").exists()


@pytest.fixture
def of_vectors(paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> CodesRecipe:
    """Codes of the interactions and of the vectors of a model, which ``tiny_recjpq`` is built on."""
    parts = (VectorPart("interactions", 8), VectorPart("recipe", 8, recipe="tiny_softmax"))
    recipe = replace(codes_recipes()["tiny_text"], name="of_vectors", vectors=parts, book_sizes=(16, 16))
    monkeypatch.setitem(codes_recipes(), recipe.name, recipe)
    monkeypatch.setitem(recipes(), "tiny_recjpq", replace(recipes()["tiny_recjpq"], codes=recipe.name))
    (paths.asset("settings") / "ranking.json").write_text('{"exclude_seen": true}')
    (paths.asset("settings") / "fit.json").write_text(json.dumps({"fit_on": FIT_ON_TRAIN}))
    return recipe


@pytest.mark.parametrize("fit_on", [FIT_ON_TRAIN, FIT_ON_BOTH])
def test_codes_of_trained_vectors_have_read_the_training_items_alone(
    fit_on: str, of_vectors: CodesRecipe, training_set: TrainingSet, paths: DatasetPaths
) -> None:
    (paths.asset("settings") / "fit.json").write_text(json.dumps({"fit_on": fit_on}))
    source, options = recipes()["tiny_softmax"], {"fit_on": fit_on, "validate_with_seen_excluded": True}
    folder = paths.asset("models", "tiny_softmax")
    train(source, training_set, folder, 3, progress=False, threads=1, **options)
    alone = SequentialRecommender(source, 3, execution=Execution(threads=1), validate_with_seen_excluded=True)
    alone.fit(training_set)
    # the model that was trained is taken where it has read no more
    assert np.array_equal(item_vectors(alone), item_vectors(SequentialRecommender.load(folder))) == (fit_on == "train")
    asset = _codes_asset(of_vectors)
    made = asset(dg.build_asset_context(partition_key="Small"), settings=Settings())
    # as the asset reads the training set: no part is of text
    without_text = replace(training_set, item_text=None)
    expected = of_vectors.assign(without_text, 3, lambda _: item_vectors(alone))
    assert made.data_version.value == expected.digest()[:32]
    assert Codes.load(paths.asset("codes", "of_vectors")).digest() == expected.digest()


def test_codes_are_made_again_where_the_model_whose_vectors_they_are_made_of_has_changed(
    of_vectors: CodesRecipe, paths: DatasetPaths
) -> None:
    asset = _codes_asset(of_vectors)
    source, built_on = (dg.AssetKey(["models", name]) for name in ("tiny_softmax", "tiny_recjpq"))
    models = [_model_asset(recipes()[key.path[-1]]) for key in (source, built_on)]
    offered = {"settings": Settings(), "training_client": None, "trainings": Trainings(1)}
    resources = {name: dg.ResourceDefinition.hardcoded_resource(one) for name, one in offered.items()}
    graph = dg.Definitions([asset, *models], resources=resources).resolve_asset_graph()
    assert graph.get(OF_VECTORS).parent_keys >= {source, dg.AssetKey(["settings", "fit"])}
    assert OF_VECTORS in graph.get(built_on).parent_keys
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(datasets.name, ["Small"])
        for key in (source, OF_VECTORS, built_on):
            paths.asset(*key.path).mkdir(parents=True)
        settle(instance, graph, {source, OF_VECTORS, built_on})
        assert plan(instance, graph, "Small") == {}
        # trained again, to other weights
        materialize(instance, graph, {}, source, "2")
        assert plan(instance, graph, "Small") == {
            OF_VECTORS: "models/tiny_softmax changed",
            built_on: "codes/of_vectors is made again",
        }
