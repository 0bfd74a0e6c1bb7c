"""Pre-training on other datasets as assets: its setting, what is refused, the plan, and from sources to a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pytest
from small_dataset import small_training_set

from ml.data.item_text import save_item_text
from ml.data.training_set import TrainingSet
from ml.models.settings import UniSRecSettings
from ml.recommenders.choice import needed_pretrained
from ml.recommenders.facts import facts_of
from ml.recommenders.registry import recipes, registry
from ml.text.vectors import save_text_vectors
from ml.training.pretrained import Pretrained
from ml.training.recipe import PretrainingSettings
from ml.training.sequential_recommender import SequentialRecommender
from orchestration.assets import models
from orchestration.assets.left_out import refusals
from orchestration.assets.pretrained import _pretrained_asset, sources_of
from orchestration.assets.rankings import _ranking_asset
from orchestration.assets.settings import settings_assets
from orchestration.checks import _overlap_check
from orchestration.commands.run import main
from orchestration.dataset_settings import check_sources, chosen, digest_of_source, kept_for, version_of, versions_of
from orchestration.execution.plan import plan
from orchestration.execution.staleness import LEFT_OUT
from orchestration.execution.trainings import Trainings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import DEFAULTS, Settings
from orchestration.selection import is_chosen

PLAIN = recipes()["tiny_softmax"]
RECIPE = replace(
    PLAIN,
    name="finetuned",
    set="knowledge",
    plain="tiny_softmax",
    architecture="unisrec",
    model=UniSRecSettings(
        dimensions=8,
        blocks=1,
        heads=1,
        feed_forward_dimensions=8,
        dropout=0.1,
        max_length=5,
        block="pre_norm",
        item_embedding="text_experts_and_id",
        separate_output_embedding=False,
        embedding_deviation=0.1,
        temperature=0.1,
    ),
    pretraining=PretrainingSettings(1, 32, 0.01, 0.001, 0.2),
)
KEY, MODEL = dg.AssetKey(["pretrained", "finetuned"]), dg.AssetKey(["models", "finetuned"])
NAMED = Settings(recipes=["knowledge", "finetuned"], pretrain_on=["Other"], seed=3)
OPTIONS = {
    "seed": 3, "fit_on": "train", "exclude_seen": True, "device": "cpu", "precision": "float32", "threads": 1,
    "checkpoint_seconds": 60.0,
}  # fmt: skip


def write(name: str, training_set: TrainingSet) -> DatasetPaths:
    """A dataset in the workspace, as its own run leaves it."""
    paths = Workspace.current().dataset(name)
    training_set = replace(training_set, dataset=name)
    for part in ("sequences", "item_text", "text_vectors"):
        paths.asset("training_sets", part).mkdir(parents=True, exist_ok=True)
    training_set.save(paths.asset("training_sets", "sequences"))
    save_item_text(paths.asset("training_sets", "item_text"), training_set.item_ids, training_set.item_text)
    save_text_vectors(paths.asset("training_sets", "text_vectors"), training_set)
    return paths


def texts(brand: str) -> tuple[str, ...]:
    return tuple(f"Title: garden hose {item % 7} green{item} Brand: {brand}" for item in range(40))


def other_dataset() -> TrainingSet:
    """With users of its own but for 20 of them."""
    users = np.array([f"U{user:03d}" for user in range(40, 100)], dtype="S")
    return replace(small_training_set(), user_ids=users).with_text(texts("other"))


def write_settings(settings: Settings) -> None:
    folder = Workspace.current().dataset("Small").asset("settings")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("training", "fit", "ranking", "comparison", "pretraining"):
        (folder / f"{name}.json").write_text(json.dumps(chosen(settings, name)))


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace with a dataset and another one that its models are pre-trained on."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setitem(recipes(), RECIPE.name, RECIPE)
    monkeypatch.setattr(models, "recipe_file", lambda name: tmp_path / f"{name}.toml")
    write("Other", other_dataset())
    paths = write("Small", small_training_set().with_text(texts("small")))
    write_settings(NAMED)
    return paths


def make(asset: dg.AssetsDefinition, settings: Settings = NAMED) -> dg.MaterializeResult:
    offered = {"settings": settings, "training_client": None, "trainings": Trainings(1)}
    resources = {name: offered[name] for name in asset.required_resource_keys & offered.keys()}
    return asset(dg.build_asset_context(partition_key="Small"), **resources)


def _check() -> dg.AssetCheckResult:
    return _overlap_check("finetuned").op.compute_fn.decorated_fn(SimpleNamespace(partition_key="Small"))


# ---- the setting


@pytest.mark.usefixtures("paths")
def test_the_settings_hold_what_the_other_datasets_hold() -> None:
    values = chosen(NAMED, "pretraining")
    assert values == {"pretrain_on": ["Other"], "pretrain_on_data": {"Other": digest_of_source("Other")}}
    assert kept_for("Small")["pretrain_on"] == ["Other"]
    version = versions_of(Settings(), "Small")["pretraining"]
    assert version == version_of(values)
    # other texts, and other interactions
    write("Other", other_dataset().with_text(texts("renamed")))
    renamed = versions_of(Settings(), "Small")["pretraining"]
    changed = replace(other_dataset(), test_targets=other_dataset().test_targets[::-1].copy())
    write("Other", changed.with_text(texts("renamed")))
    assert len({version, renamed, versions_of(Settings(), "Small")["pretraining"]}) == 3


def test_without_other_datasets_nothing_is_written_but_the_empty_list() -> None:
    assert chosen(Settings(**DEFAULTS), "pretraining") == {"pretrain_on": []}


def test_a_dataset_that_is_gone_is_another_choice(paths: DatasetPaths) -> None:
    before = versions_of(Settings(), "Small")["pretraining"]
    (paths.home / "lake" / "Other" / "training_sets" / "sequences" / "training_set.json").unlink()
    assert digest_of_source("Other") == "none"
    assert versions_of(Settings(), "Small")["pretraining"] != before


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(
            *(["Small"], r"PRETRAIN_ON=Small is not possible: Small is the dataset itself; name others"),
            marks=pytest.mark.slow,
        ),
        (
            ["Other", "Othr"],
            r"PRETRAIN_ON=Other,Othr .*: Othr has no training set .* \(did you mean Other\?\); make it",
        ),
        pytest.param(["Toys"], r"make run DATASET=Toys\. Datasets that have one: Other", marks=pytest.mark.slow),
        (["a/b"], "cannot name a dataset"),
    ],
)
def test_datasets_that_cannot_be_read_are_refused(paths: DatasetPaths, names: list[str], message: str, capsys) -> None:
    with pytest.raises(ValueError, match=message):
        check_sources(names, "Small")
    # by the command before anything is made, and by the settings of a run
    assert main(["--dataset", "Small", "--pretrain-on", ",".join(names)]) == 1
    assert "is not possible" in (said := capsys.readouterr().err) or "cannot name" in said
    assert not (paths.home / "dagster").exists()
    for asset in settings_assets:
        with pytest.raises(dg.Failure, match=message):
            make(asset, Settings(pretrain_on=names))


@pytest.mark.usefixtures("paths")
def test_datasets_in_the_workspace_are_accepted() -> None:
    check_sources(["Other"], "Small")
    check_sources([], "Small")
    (asset,) = [one for one in settings_assets if one.key.path[-1] == "pretraining"]
    assert make(asset).metadata["pretrain_on"] == ["Other"]


# ---- what is made where


@pytest.mark.usefixtures("paths")
def test_weights_are_made_where_a_chosen_recipe_needs_them() -> None:
    assert needed_pretrained(["tiny_softmax", "finetuned"]) == {"finetuned"}
    assert is_chosen(KEY, ["finetuned"])
    assert not is_chosen(KEY, ["tiny_softmax"])
    asset = _pretrained_asset(RECIPE)
    # the sequences of the dataset are not among them
    assert {key.to_user_string() for key in asset.asset_deps[KEY]} == {
        "training_sets/item_text",
        "settings/pretraining",
        "settings/training",
    }
    assert KEY in models._model_asset(RECIPE).asset_deps[MODEL]
    assert not any(
        key.path[0] == "pretrained"
        for key in models._model_asset(PLAIN).asset_deps[dg.AssetKey(["models", PLAIN.name])]
    )


def test_from_other_datasets_to_a_model(paths: DatasetPaths) -> None:
    made = make(_pretrained_asset(RECIPE))
    pretrained = Pretrained.load(paths.asset("pretrained", "finetuned"))
    assert made.data_version.value == pretrained.digest()[:32]
    assert [source["dataset"] for source in made.metadata["sources"].value] == ["Other"]
    assert made.metadata["seed"] == 3
    model = make(models._model_asset(RECIPE))
    loaded = SequentialRecommender.load(paths.asset("models", "finetuned"))
    assert loaded.pretrained_from == pretrained.described()
    assert model.metadata["test users with a history in a dataset of the pre-training"] == 20
    assert model.metadata["items that are in a history of a dataset of the pre-training"] == 40
    facts = facts_of("finetuned", paths.recommender, registry(), 40)
    assert facts["pretrained_on"] == "Other"
    found = _check()
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert "Small: 20 of 60 test users also have a history in a dataset of the pre-training" in found.description
    write("Other", replace(other_dataset(), user_ids=np.array([f"X{user:03d}" for user in range(60)], dtype="S")))
    assert _check().passed
    assert make(_ranking_asset("finetuned")).metadata["dagster/row_count"] > 0
    command = models._command(RECIPE, paths, OPTIONS)
    assert command[command.index("--pretrained") + 1] == str(paths.asset("pretrained", "finetuned"))
    assert "--pretrained" not in models._command(PLAIN, paths, OPTIONS)


def test_nothing_of_the_dataset_but_its_text_is_read(paths: DatasetPaths) -> None:
    first = make(_pretrained_asset(RECIPE)).data_version
    other = replace(small_training_set().train, items=small_training_set().train.items[::-1].copy())
    write("Small", replace(small_training_set(), train=other, test_targets=other.items[:60]).with_text(texts("small")))
    assert make(_pretrained_asset(RECIPE)).data_version == first
    write("Small", small_training_set().with_text(texts("renamed")))
    assert make(_pretrained_asset(RECIPE)).data_version != first


def test_what_another_dataset_holds_out_changes_nothing(paths: DatasetPaths) -> None:
    first = make(_pretrained_asset(RECIPE)).data_version
    targets = other_dataset().test_targets[::-1].copy()
    write("Other", replace(other_dataset(), test_targets=targets, validation_targets=targets))
    assert make(_pretrained_asset(RECIPE)).data_version == first


def test_where_none_is_named_a_set_leaves_it_out_and_a_name_is_refused(paths: DatasetPaths) -> None:
    by_set = Settings(recipes=["knowledge"], pretrain_on=[])
    write_settings(by_set)
    made = [
        make(asset, by_set)
        for asset in (_pretrained_asset(RECIPE), models._model_asset(RECIPE), _ranking_asset("finetuned"))
    ]
    assert [one.data_version.value for one in made] == [LEFT_OUT] * 3
    why = (
        "finetuned is left out: it is pre-trained on other datasets, and none is named: name some that were run before"
    )
    assert all(one.metadata["left out"].startswith(why) for one in made)
    by_name = Settings(recipes=["knowledge", "finetuned"], pretrain_on=[])
    write_settings(by_name)
    (refusal,) = refusals(by_name, paths, [KEY, MODEL])
    assert "recipe finetuned cannot be made: it is pre-trained on other datasets" in refusal
    with pytest.raises(dg.Failure, match="PRETRAIN_ON=Beauty,Toys"):
        make(_pretrained_asset(RECIPE), by_name)
    # and once one is named, all of it is made
    write_settings(NAMED)
    assert make(_pretrained_asset(RECIPE)).data_version.value != LEFT_OUT
    assert make(models._model_asset(RECIPE)).data_version.value != LEFT_OUT


def test_a_dataset_that_has_gone_since_fails_in_words(paths: DatasetPaths) -> None:
    (paths.home / "lake" / "Other").rename(paths.home / "lake" / "Moved")
    with pytest.raises(dg.Failure, match=r"Small: PRETRAIN_ON=Other is not possible: Other has no training set"):
        make(_pretrained_asset(RECIPE))
    with pytest.raises(ValueError, match="Other has no training set"):
        sources_of(paths)
    assert not paths.asset("pretrained", "finetuned").exists()


def test_the_plan_makes_the_weights_again_where_another_dataset_has_changed(paths: DatasetPaths) -> None:
    (settings_asset,) = [one for one in settings_assets if one.key.path[-1] == "pretraining"]
    assets = [settings_asset, _pretrained_asset(RECIPE)]
    resources = {"settings": dg.ResourceDefinition.hardcoded_resource(NAMED)}
    graph = dg.Definitions(assets, resources=resources).resolve_asset_graph()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(datasets.name, ["Small"])

        def planned() -> dict[str, str]:
            return {key.to_user_string(): why for key, why in plan(instance, graph, "Small", NAMED).items()}

        def run() -> bool:
            return dg.materialize(assets, instance=instance, partition_key="Small", resources=resources).success

        assert run()
        assert planned() == {}
        write("Other", other_dataset().with_text(texts("renamed")))
        assert planned() == {
            "settings/pretraining": "settings changed",
            "pretrained/finetuned": "settings/pretraining is made again",
        }
        assert run()
        assert planned() == {}


def test_what_would_need_other_weights_each_time_is_refused(paths: DatasetPaths) -> None:
    from orchestration.assets.searches import SearchConfig, hyperparameters

    with pytest.raises(dg.Failure, match=r"finetuned is pre-trained on other datasets, .*: search tiny_softmax"):
        list(hyperparameters(dg.build_asset_context(partition_key="Small"), SearchConfig(recipe="finetuned")))


def test_further_seeds_are_pre_trained_with_their_own(paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.assets import seeds
    from orchestration.assets.seeds import further_seeds

    write_settings(NAMED)
    (paths.asset("settings") / "seeds.json").write_text('{"seeds": 2}')
    begun: list[int] = []

    def fitted(name, training_set, conditions, registry, fitted) -> SimpleNamespace:
        begun.append((conditions.seed, [source.dataset for source in conditions.sources]))
        raise KeyError(name)

    monkeypatch.setattr("ml.recommenders.fit.fit", fitted)
    monkeypatch.setattr(seeds, "compared_recommenders", lambda _: ["finetuned"])
    with pytest.raises(KeyError):
        further_seeds(dg.build_asset_context(partition_key="Small"), settings=NAMED)
    assert begun == [(4, ["Other"])]
