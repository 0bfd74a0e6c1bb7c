"""Language models as assets: from titles to a folder, a ranking, and a row of the leaderboard; and without their
libraries.
"""

import json
from pathlib import Path

import dagster as dg
import pytest
from small_dataset import small_training_set

from ml.data.item_text import save_item_text
from ml.data.training_set import FIT_ON_TRAIN
from ml.extras import MissingExtra
from ml.language_models.recipe import (
    FinetuningSettings,
    GeneratorSettings,
    QueryRecipe,
    QuerySettings,
)
from ml.recommenders import registry as recommenders
from ml.recommenders.check_choice import check_recipes
from ml.recommenders.choice import chosen_names
from ml.recommenders.facts import facts_of
from ml.recommenders.load import load
from ml.recommenders.registry import Registry
from orchestration.assets.language_models import _language_model_asset
from orchestration.paths import Workspace
from orchestration.resources import Settings
from orchestration.selection import left_out

RECIPE = QueryRecipe(
    *("tiny_queries", "Tiny queries", "none", "for tests", "knowledge"),
    GeneratorSettings(vocabulary=290, dimensions=16, layers=1, heads=2),
    FinetuningSettings(steps=2, batch_size=16, warm_up_steps=0, validate_every=2),
    QuerySettings(history=3, title_tokens=8, queries=2),
)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommenders, "language_models", lambda: {RECIPE.name: RECIPE})


def test_a_language_model_is_made_loaded_and_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setattr("orchestration.assets.language_models.require_chosen", lambda *_: None)
    training_set = small_training_set()
    paths = Workspace.current().dataset("Small")
    for name in ("sequences", "item_text"):
        paths.asset("training_sets", name).mkdir(parents=True)
    training_set.save(paths.asset("training_sets", "sequences"))
    texts = [f"Title: saw {item % 7} steel Brand: X Category: Y Price: Unknown" for item in range(training_set.items)]
    save_item_text(paths.asset("training_sets", "item_text"), training_set.item_ids, texts)
    paths.asset("settings").mkdir()
    settings = {"training": {"seed": 3}, "fit": {"fit_on": FIT_ON_TRAIN}, "ranking": {"exclude_seen": True}}
    for name, values in settings.items():
        (paths.asset("settings") / f"{name}.json").write_text(json.dumps(values))

    def make() -> dg.MaterializeResult:
        return _language_model_asset(RECIPE)(dg.build_asset_context(partition_key="Small"), settings=Settings())

    made = make()
    assert made.metadata["seed"] == 3
    assert made.metadata["best step"] == 2
    registry = Registry({}, {}, language_models={RECIPE.name: RECIPE})
    recommender = load(RECIPE.name, paths.recommender, registry, training_set.items)
    lists = recommender.recommend(training_set.histories("test"), 5, exclude_seen=True)
    assert (lists.items >= 0).all()
    facts = facts_of(RECIPE.name, paths.recommender, registry, training_set.items)
    assert (facts["kind"], facts["fit_on"], facts["maximum_length"]) == ("language_model", FIT_ON_TRAIN, 3)
    # made again of the same, it is the same
    assert make().data_version == made.data_version


def test_without_its_libraries_a_set_leaves_it_out_and_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QueryRecipe, "libraries", ("json",))
    assert RECIPE.name in chosen_names(["knowledge"])
    assert not any(RECIPE.name in sentence for sentence in left_out(["knowledge"]))
    monkeypatch.setattr(QueryRecipe, "libraries", ("not_there",))
    assert RECIPE.name not in chosen_names(["knowledge"])
    remedy = "tiny_queries is left out: not_there is not installed (pip install 'raw2rank[llm]')"
    assert remedy in left_out(["knowledge"])
    with pytest.raises(MissingExtra, match="the recipe tiny_queries needs not_there"):
        check_recipes([RECIPE.name])
