"""Models that read item text as assets: what they depend on, and what the training command is given."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from small_dataset import small_training_set

from ml.data.item_text import save_item_text
from ml.recommenders.modules import modules_of
from ml.recommenders.registry import recipes
from ml.text.vectors import save_text_vectors
from ml.training.sequential_recommender import SequentialRecommender
from orchestration.assets import models
from orchestration.paths import DatasetPaths, Workspace

PLAIN = recipes()["tiny_softmax"]
READER = replace(PLAIN, name="reader", model=replace(PLAIN.model, item_embedding="text_and_id"))
OPTIONS = {
    "seed": 3, "fit_on": "train", "exclude_seen": True, "device": "cpu", "precision": "float32", "threads": 1,
    "checkpoint_seconds": 60.0,
}  # fmt: skip
_TEXT, _VECTORS = dg.AssetKey(["training_sets", "item_text"]), dg.AssetKey(["training_sets", "text_vectors"])


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace with a training set, its text and the vectors of it."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setitem(recipes(), READER.name, READER)
    monkeypatch.setattr(models, "recipe_file", lambda name: tmp_path / f"{name}.toml")
    paths = Workspace.current().dataset("Small")
    texts = tuple(f"Title: garden hose {item % 7} green{item}" for item in range(small_training_set().items))
    training_set = small_training_set().with_text(texts)
    for name in ("sequences", "item_text", "text_vectors"):
        paths.asset("training_sets", name).mkdir(parents=True)
    training_set.save(paths.asset("training_sets", "sequences"))
    save_item_text(paths.asset("training_sets", "item_text"), training_set.item_ids, texts)
    save_text_vectors(paths.asset("training_sets", "text_vectors"), training_set)
    # a training looks whether a warm start is asked for
    paths.asset("settings").mkdir()
    (paths.asset("settings") / "fit.json").write_text('{"fit_on": "train", "warm_start": "off"}')
    return paths


@pytest.mark.usefixtures("paths")
def test_models_that_read_text_alone_depend_on_it() -> None:
    reader, plain = models._model_asset(READER), models._model_asset(PLAIN)
    assert {_TEXT, _VECTORS} <= set(reader.asset_deps[dg.AssetKey(["models", "reader"])])
    assert not {_TEXT, _VECTORS} & set(plain.asset_deps[dg.AssetKey(["models", PLAIN.name])])
    other = replace(READER, model=replace(READER.model, text_encoder="sentence_transformers"))
    deps = models._model_asset(other).asset_deps[dg.AssetKey(["models", "reader"])]
    # its vectors are computed where it is trained
    assert _TEXT in deps
    assert _VECTORS not in deps


@pytest.mark.usefixtures("paths")
def test_the_code_that_makes_the_vectors_counts_for_models_that_read_them() -> None:
    assert {"ml.text.vectors", "ml.text.tf_idf_svd"} <= set(modules_of(READER.name))
    assert not any(module.startswith("ml.text") for module in modules_of(PLAIN.name))


def test_a_model_is_trained_on_the_text_of_the_assets(paths: DatasetPaths) -> None:
    models._train_here(READER, paths, OPTIONS, lambda _: None)
    loaded = SequentialRecommender.load(paths.asset("models", "reader"))
    assert loaded.model.input_embedding.text.any()
    command = models._command(READER, paths, OPTIONS)
    for option, name in (("--item-text", "item_text"), ("--text-vectors", "text_vectors")):
        assert command[command.index(option) + 1] == str(paths.asset("training_sets", name))
    assert not {"--item-text", "--text-vectors"} & set(models._command(PLAIN, paths, OPTIONS))


def test_a_dataset_without_text_is_refused_by_the_name_of_the_recipe(paths: DatasetPaths) -> None:
    training_set = small_training_set().with_text(("",) * small_training_set().items)
    save_item_text(paths.asset("training_sets", "item_text"), training_set.item_ids, training_set.item_text)
    save_text_vectors(paths.asset("training_sets", "text_vectors"), training_set)
    with pytest.raises(dg.Failure, match=r"Small: recipe reader: .* no item of .* with a word"):
        models._train_here(READER, paths, OPTIONS, lambda _: None)
    assert not paths.asset("models", "reader").exists()
