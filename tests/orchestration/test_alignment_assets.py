"""Alignments as assets: from the folder of a student to policies, a ranking, and a row of the leaderboard."""

import json
from pathlib import Path

import dagster as dg
import pytest
from small_dataset import small_training_set

from ml.alignment.summary import read_alignment
from ml.beyond_accuracy.measures import ndcg
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.recommenders.facts import facts_of
from ml.recommenders.fit import Conditions, fit
from ml.recommenders.registry import registry
from ml.training.sequential_recommender import SequentialRecommender
from orchestration.assets.rankings import load
from orchestration.definitions import defs
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import Settings

ALIGNED = "aligned_tiny_student"


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return small_training_set()


@pytest.fixture
def paths(training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace with a trained student."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setattr("orchestration.assets.alignments.require_chosen", lambda *_: None)
    paths = Workspace.current().dataset("Small")
    paths.asset("training_sets", "sequences").mkdir(parents=True)
    training_set.save(paths.asset("training_sets", "sequences"))
    paths.asset("settings").mkdir(exist_ok=True)
    for name, values in (("training", {"seed": 3}), ("fit", {"fit_on": FIT_ON_TRAIN})):
        (paths.asset("settings") / f"{name}.json").write_text(json.dumps(values))
    fit("tiny_student", training_set, Conditions(3), registry(), folder=paths.asset("models", "tiny_student"))
    return paths


def _make() -> dg.MaterializeResult:
    asset = defs.get_repository_def().assets_defs_by_key[dg.AssetKey(["models", ALIGNED])]
    return asset(dg.build_asset_context(partition_key="Small"), settings=Settings())


def test_policies_are_made_of_the_trained_student(
    training_set: TrainingSet, paths: DatasetPaths, capsys: pytest.CaptureFixture
) -> None:
    made = _make()
    told = capsys.readouterr().err
    for said in ("weight 0, step 0, validation nDCG@10", "weight 1, step 4, reward"):
        assert f"Tiny student, aligned: {said}" in told
    folder = paths.asset("models", ALIGNED)
    described = read_alignment(folder)
    student = SequentialRecommender.load(paths.asset("models", "tiny_student"))
    assert made.metadata["student"] == described["student"]["recipe"] == "tiny_student"
    assert made.metadata["goal"] == "popularity"
    assert list(made.metadata["validation of the policies"]) == ["0", "1"]
    lists = student.recommend(training_set.histories("validation"), 10, exclude_seen=False)
    expected = ndcg(lists.items, training_set.validation_targets).mean()
    assert described["student"]["validation_ndcg_at_10"] == pytest.approx(expected)
    assert described["seed"] == 3
    recommender = load(paths, ALIGNED, training_set.items)
    lists = recommender.recommend(training_set.histories("test"), 10, exclude_seen=True)
    assert (lists.items >= 0).all()
    facts = facts_of(ALIGNED, paths.recommender, registry(), training_set.items)
    assert (facts["kind"], facts["fit_on"], facts["written"]) == ("alignment", FIT_ON_TRAIN, 10)
    assert facts["parameters"] == sum(each.numel() for each in student.model.parameters())
    # made again of the same, it is the same
    assert _make().data_version == made.data_version


@pytest.mark.usefixtures("paths")
def test_a_goal_that_the_items_do_not_allow_fails_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.beyond_accuracy.goals._has", lambda *_: False)
    with pytest.raises(dg.Failure) as failure:
        _make()
    assert "Small: the items of Small are in no training history" in str(failure.value.description)
