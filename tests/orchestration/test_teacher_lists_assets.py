"""Teacher lists as assets, and the students that are trained on them."""

import json
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pyarrow.parquet as pq
import pytest
from small_dataset import ITEMS, small_training_set

from ml.data.item_text import save_item_text
from ml.data.teacher_lists import TeacherLists, file_of
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, TrainingSet
from ml.recommenders.registry import recipes, teacher_lists_recipes
from ml.teaching.make_lists import make_teacher_lists
from ml.text.vectors import save_text_vectors
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.train import train
from orchestration.assets import models
from orchestration.checks import checks
from orchestration.definitions import defs
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import Settings

LISTS = dg.AssetKey(["teacher_lists", "tiny_lists"])
STUDENT = dg.AssetKey(["models", "tiny_student"])


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return small_training_set(
        tuple(
            f"Title: hose {item % 7} Brand: green Category: {'ABC'[item % 3]} Price: Unknown" for item in range(ITEMS)
        )
    )


def _settings(paths: DatasetPaths, fit_on: str) -> None:
    paths.asset("settings").mkdir(exist_ok=True)
    for name, values in (("training", {"seed": 3}), ("fit", {"fit_on": fit_on}), ("ranking", {"exclude_seen": True})):
        (paths.asset("settings") / f"{name}.json").write_text(json.dumps(values))


@pytest.fixture
def paths(training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace with a trained teacher."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    paths = Workspace.current().dataset("Small")
    for name in ("sequences", "item_text", "text_vectors"):
        paths.asset("training_sets", name).mkdir(parents=True)
    training_set.save(paths.asset("training_sets", "sequences"))
    save_item_text(paths.asset("training_sets", "item_text"), training_set.item_ids, training_set.item_text)
    save_text_vectors(paths.asset("training_sets", "text_vectors"), training_set)
    _settings(paths, FIT_ON_TRAIN)
    return paths


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked for is made."""
    monkeypatch.setattr("orchestration.assets.teacher_lists.require_chosen", lambda *_: None)


def _train_teacher(paths: DatasetPaths, training_set: TrainingSet, fit_on: str) -> SequentialRecommender:
    folder = paths.asset("models", "tiny_softmax")
    train(
        recipes()["tiny_softmax"], training_set, folder, 3, progress=False, threads=1, fit_on=fit_on,
        validate_with_seen_excluded=True,
    )  # fmt: skip
    return SequentialRecommender.load(folder)


def _make(key: dg.AssetKey, **resources) -> dg.MaterializeResult:
    asset = defs.get_repository_def().assets_defs_by_key[key]
    return asset(dg.build_asset_context(partition_key="Small"), settings=Settings(), **resources)


@pytest.mark.usefixtures("chosen")
def test_lists_are_those_of_the_trained_teacher(training_set: TrainingSet, paths: DatasetPaths) -> None:
    teacher = _train_teacher(paths, training_set, FIT_ON_TRAIN)
    expected = make_teacher_lists(
        teacher_lists_recipes()["tiny_lists"], {FIT_ON_TRAIN: teacher}, training_set, 3, exclude_seen=True
    )
    made = _make(LISTS)
    saved = TeacherLists.load(paths.asset("teacher_lists", "tiny_lists"))
    assert saved.digest() == expected.digest()
    assert saved.described() == expected.described()
    assert made.data_version.value == expected.digest()[:32]
    assert made.metadata["goal"] == "category_diversity"
    assert made.metadata["teacher"] == "tiny_softmax"
    assert made.metadata["tradeoffs"] == [0.0, 0.5]
    assert made.metadata["fit_on"] == [FIT_ON_TRAIN]
    rows = pq.read_metadata(paths.asset("teacher_lists", "tiny_lists") / file_of(FIT_ON_TRAIN)).num_rows
    assert made.metadata["dagster/row_count"] == rows == 2 * made.metadata["sub_histories"]
    described = {column.name for column in made.metadata["dagster/column_schema"].columns if column.description}
    assert described == {"user_index", "start", "end", "tradeoff", "items", "scores"}


@pytest.mark.usefixtures("chosen")
def test_with_a_final_fit_on_both_the_search_is_taught_by_a_teacher_that_saw_the_training_items_alone(
    training_set: TrainingSet, paths: DatasetPaths
) -> None:
    _settings(paths, FIT_ON_BOTH)
    final = _train_teacher(paths, training_set, FIT_ON_BOTH)
    alone = SequentialRecommender(
        recipes()["tiny_softmax"], 3, execution=final.execution, validate_with_seen_excluded=True
    ).fit(training_set)
    expected = make_teacher_lists(
        teacher_lists_recipes()["tiny_lists"], {FIT_ON_TRAIN: alone, FIT_ON_BOTH: final}, training_set, 3, True
    )
    made = _make(LISTS)
    assert made.metadata["fit_on"] == [FIT_ON_TRAIN, FIT_ON_BOTH]
    assert TeacherLists.load(paths.asset("teacher_lists", "tiny_lists")).digest() == expected.digest()


@pytest.mark.usefixtures("paths")
def test_lists_that_no_chosen_recipe_needs_are_refused() -> None:
    with pytest.raises(dg.Failure, match="teacher_lists/tiny_lists: not among the recipes chosen"):
        _make(LISTS)


@pytest.mark.usefixtures("chosen")
def test_a_goal_that_the_items_do_not_allow_fails_in_words(
    training_set: TrainingSet, paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train_teacher(paths, training_set, FIT_ON_TRAIN)
    monkeypatch.setattr("ml.beyond_accuracy.goals._has", lambda *_: False)
    with pytest.raises(dg.Failure) as failure:
        _make(LISTS)
    assert "Small: the items of Small have no categories" in str(failure.value.description)
    assert not paths.asset("teacher_lists", "tiny_lists").exists()


@pytest.mark.usefixtures("chosen")
def test_a_student_is_trained_on_the_lists_and_compared_with_its_teacher(
    training_set: TrainingSet, paths: DatasetPaths
) -> None:
    _train_teacher(paths, training_set, FIT_ON_TRAIN)
    _make(LISTS)
    recipe = recipes()["tiny_student"]
    options = {
        "seed": 3, "fit_on": FIT_ON_TRAIN, "exclude_seen": True, "device": "cpu", "precision": "float32", "threads": 1,
        "checkpoint_seconds": 60.0,
    }  # fmt: skip
    models._train_here(recipe, paths, options, lambda _: None)
    student = SequentialRecommender.load(paths.asset("models", "tiny_student"))
    assert student.taught is not None
    assert student.taught["teacher"] == "tiny_softmax"
    assert student.tradeoff in student.tradeoffs == (0.0, 0.5)
    # the training command is given the same folder
    command = models._command(recipe, paths, options)
    assert command[command.index("--teacher-lists") + 1] == str(paths.asset("teacher_lists", "tiny_lists"))
    assert "--codes" not in command
    (compare,) = [each for each in checks if dg.AssetCheckKey(STUDENT, "close_to_its_teacher") in each.check_keys]
    # a context of a check has no partition outside a run
    result = compare.op.compute_fn.decorated_fn(SimpleNamespace(partition_key="Small"))
    own, of_teacher = student.best_validation_ndcg_at_10, student.taught["teacher_validation_ndcg_at_10"]
    assert result.metadata["share"].value == pytest.approx(own / of_teacher)
    assert result.passed == (own >= 0.97 * of_teacher)
    assert result.severity == dg.AssetCheckSeverity.WARN
    assert f"validation nDCG@10 {own:.4f}, of its teacher {of_teacher:.4f}" in result.description


def test_students_alone_are_compared_with_a_teacher() -> None:
    compared = {key.asset_key for check in checks for key in check.check_keys if key.name == "close_to_its_teacher"}
    assert compared == {STUDENT}
