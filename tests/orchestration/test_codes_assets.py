"""Codes as assets: made from the training set, and from the text vectors where the recipe quantises them."""

from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from small_dataset import ITEMS, small_training_set

from ml.codes.codes import Codes
from ml.data.item_text import save_item_text
from ml.data.training_set import TrainingSet
from ml.recommenders.registry import codes_recipes
from ml.text.tf_idf_svd import TfIdfSvd
from ml.text.vectors import save_text_vectors
from orchestration.definitions import defs
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import Settings


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
