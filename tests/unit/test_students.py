"""Students: models that are taught the lists of another recommender."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from alignment_toys import toy_recipe as toy_alignment
from teaching_toys import DEPTH, RingTeacher, lists_recipe, ring_lists, student_recipe, two_tradeoffs
from training_toys import ITEMS, ring_training_set, toy_recipe

from ml.alignment.align import align
from ml.alignment.summary import policy_folder
from ml.beyond_accuracy.affordable import most_of_the_goal
from ml.beyond_accuracy.goals import goal_on
from ml.config import TableError
from ml.data.files import DamagedFile
from ml.data.sequences import Sequences
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, TrainingSet
from ml.recommenders.fit import Conditions, fit
from ml.recommenders.registry import Registry
from ml.training.recipe import Recipe, recipe_from_tables
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.summary import student_and_teacher
from ml.training.tradeoffs import measured_tradeoffs
from ml.training.train import train


@pytest.fixture(scope="module")
def ring() -> TrainingSet:
    return ring_training_set()


@pytest.fixture(scope="module")
def unvalidated(ring) -> TrainingSet:
    """The same without validation users: training does not stop before its last epoch."""
    return replace(ring, validation_users=ring.validation_users[:0], validation_targets=ring.validation_targets[:0])


def taught(recipe: Recipe, lists, training_set: TrainingSet, **options) -> SequentialRecommender:
    execution = Execution(threads=1)
    return SequentialRecommender(
        recipe, 0, execution=execution, teacher_lists=lists, validate_with_seen_excluded=True, **options
    ).fit(training_set)


@pytest.fixture(scope="module")
def student(ring) -> SequentialRecommender:
    return taught(student_recipe(training={"max_epochs": 16}), ring_lists(ring), ring)


@pytest.fixture(scope="module")
def distilled(unvalidated) -> SequentialRecommender:
    recipe = student_recipe(marks=2, training={"max_epochs": 50}, tradeoff=0.0)
    return taught(recipe, ring_lists(unvalidated, two_tradeoffs()), unvalidated)


# of histories that it was not taught, and nearly: the next test
@pytest.mark.slow
def test_a_student_learns_the_lists_of_its_teacher_exactly(ring, unvalidated):
    made = ring_lists(unvalidated)
    lists = made.of(FIT_ON_TRAIN)
    student = taught(student_recipe(training={"max_epochs": 16}), made, unvalidated)
    written = student.recommend(lists.histories(ring), DEPTH, exclude_seen=True)
    np.testing.assert_array_equal(written.items, lists.items[:, 0])


def test_a_student_writes_what_its_teacher_would_for_histories_it_was_not_taught(ring, student):
    histories = ring.histories("test")
    written = student.recommend(histories, DEPTH, exclude_seen=True)
    expected = RingTeacher(ring).recommend(histories, DEPTH, exclude_seen=True)
    assert (written.items == expected.items).all(axis=1).mean() > 0.95


def test_a_student_that_reads_lists_with_other_items_writes_those_of_its_teacher(ring):
    task = {"name": "teacher_lists", "every_start": True, "later_items": 0.5, "foreign_items": 0.1}
    student = taught(student_recipe(task=task, training={"max_epochs": 16}), ring_lists(ring), ring)
    histories = ring.histories("test")
    written = student.recommend(histories, DEPTH, exclude_seen=True)
    expected = RingTeacher(ring).recommend(histories, DEPTH, exclude_seen=True)
    assert (written.items == expected.items).all(axis=1).mean() > 0.95


def test_validation_is_of_written_lists_and_as_good_as_the_teachers(ring, student):
    assert student.best_validation_ndcg_at_10 is not None
    assert student.taught is not None
    assert student.best_validation_ndcg_at_10 >= 0.97 * student.taught["teacher_validation_ndcg_at_10"]
    found = student.recommend(ring.histories("validation"), 10, exclude_seen=True).items
    places = found == ring.validation_targets[:, None]
    expected = (places / np.log2(2 + np.arange(10))).sum(axis=1).mean()
    assert student.best_validation_ndcg_at_10 == pytest.approx(expected)


def test_each_mark_asks_for_the_lists_of_its_tradeoff(ring, distilled):
    lists = ring_lists(ring, two_tradeoffs()).of(FIT_ON_TRAIN)
    histories = lists.histories(ring)
    assert distilled.tradeoffs == (0.0, 1.0)
    own, goal = (distilled.at_tradeoff(each).recommend(histories, DEPTH, True).items for each in (0.0, 1.0))
    np.testing.assert_array_equal(own, lists.items[:, 0])
    np.testing.assert_array_equal(goal, lists.items[:, 1])
    assert (own != goal).any(axis=1).mean() > 0.9


def test_policies_are_aligned_from_the_tradeoffs_of_their_weights(unvalidated, distilled, tmp_path):
    goal = goal_on("co_occurrence_diversity", unvalidated)
    recipe = toy_alignment(weights=(0.5, 1.0), tradeoffs=(1.0, 0.0), steps=1, policy_learning_rate=1e-9)
    align(recipe, distilled.at_tradeoff(1.0), unvalidated, goal, tmp_path / "aligned")
    histories = unvalidated.histories("test")
    for weight, tradeoff in zip(recipe.weights, recipe.tradeoffs, strict=True):
        policy = SequentialRecommender.load(policy_folder(tmp_path / "aligned", weight))
        assert policy.tradeoff == tradeoff
        own = distilled.at_tradeoff(tradeoff).recommend(histories, DEPTH, True).items
        np.testing.assert_array_equal(policy.recommend(histories, DEPTH, True).items, own)
    with pytest.raises(ValueError, match=r"was not taught the trade-off 0.3, .*; it was taught 0, 1"):
        align(replace(recipe, tradeoffs=(0.0, 0.3)), distilled, unvalidated, goal, tmp_path / "other")


def test_the_tradeoff_of_the_recipe_is_in_force_and_kept(ring, distilled, tmp_path):
    histories = ring.histories("test")
    assert distilled.tradeoff == 0.0
    for tradeoff in (0.0, 1.0):
        asked = distilled.at_tradeoff(tradeoff)
        folder = tmp_path / str(tradeoff)
        folder.mkdir()
        asked.save(folder)
        loaded = SequentialRecommender.load(folder)
        assert (loaded.tradeoffs, loaded.tradeoff) == ((0.0, 1.0), tradeoff)
        assert loaded.taught == distilled.taught
        np.testing.assert_array_equal(
            loaded.recommend(histories, DEPTH, True).items, asked.recommend(histories, DEPTH, True).items
        )
    # the other one is still what it was
    assert distilled.tradeoff == 0.0
    with pytest.raises(ValueError, match=r"taught the trade-offs 0, 1, not 0\.5"):
        distilled.at_tradeoff(0.5)


def test_a_tradeoff_is_chosen_on_the_validation_users(ring):
    lists = ring_lists(ring, two_tradeoffs())
    recipe = student_recipe(marks=2, training={"max_epochs": 12}, tradeoff="validation")
    chosen = taught(recipe, lists, ring)
    # the least popular of ten candidates misses the one item that follows
    assert chosen.tradeoff == 0.0
    assert chosen.taught is not None
    measured = chosen.taught["validation"]
    assert measured["tradeoffs"] == [0.0, 1.0]
    assert measured["ndcg@10"][0] == pytest.approx(chosen.best_validation_ndcg_at_10)
    assert measured["ndcg@10"][1] < 0.95 * measured["ndcg@10"][0]
    assert measured["goal@10"][1] < measured["goal@10"][0]


def test_the_most_of_the_goal_at_little_loss():
    assert most_of_the_goal([0.2, 0.195, 0.191, 0.1], [0.5, 0.6, 0.7, 0.9], higher_is_better=True) == 2
    assert most_of_the_goal([0.2, 0.195, 0.191, 0.1], [0.5, 0.4, 0.3, 0.1], higher_is_better=False) == 2
    assert most_of_the_goal([0.2, 0.1], [0.5, 0.9], higher_is_better=True) == 0
    assert most_of_the_goal([0.2, 0.2], [np.nan, np.nan], higher_is_better=True) == 0
    assert most_of_the_goal([0.2, 0.2, 0.2], [np.nan, 0.4, 0.4], higher_is_better=True) == 1


def test_a_choice_is_made_by_the_goal_that_the_lists_were_made_for(ring):
    lists = ring_lists(ring, two_tradeoffs())
    targets = np.asarray(ring.validation_targets)
    others = np.stack([(targets + 1) % ITEMS, (targets + 2) % ITEMS], axis=1)
    hits = np.concatenate([targets[:, None], others], axis=1)
    values = np.asarray(lists.goal_values)
    # the target comes first at the one, and last at the other
    found = measured_tradeoffs(lambda tradeoff: hits if tradeoff == 0 else hits[:, ::-1], lists, ring)
    assert found.goal == pytest.approx((values[hits].mean(),) * 2)
    assert found.ndcg == pytest.approx((1.0, 0.5))
    assert found.chosen == 0.0


def test_a_final_fit_is_taught_by_the_teacher_that_saw_the_validation_items(ring):
    lists = ring_lists(ring, fits=(FIT_ON_TRAIN, FIT_ON_BOTH))
    recipe = student_recipe(training={"max_epochs": 12})
    refitted = taught(recipe, lists, ring, fit_on=FIT_ON_BOTH)
    both = ring.to_fit_on(FIT_ON_BOTH)
    table = lists.of(FIT_ON_BOTH)
    written = refitted.recommend(table.histories(both), DEPTH, exclude_seen=True)
    assert (written.items == table.items[:, 0]).all(axis=1).mean() > 0.9
    assert {record.fit_on for record in refitted.log} == {FIT_ON_TRAIN, FIT_ON_BOTH}
    with pytest.raises(ValueError, match=r"of a teacher fitted on train alone, and the final fit is on train\+valid"):
        taught(recipe, ring_lists(ring), ring, fit_on=FIT_ON_BOTH)


class _Interrupted(Exception):
    pass


def test_an_interrupted_student_ends_with_the_same_weights(ring, tmp_path, monkeypatch):
    recipe = student_recipe(marks=2, training={"max_epochs": 2, "patience": 2}, model={"dropout": 0.2})
    lists = ring_lists(ring, two_tradeoffs())
    options = {"teacher_lists": lists, "progress": False, "threads": 1}
    whole = train(recipe, ring, tmp_path / "whole", checkpoint_seconds=None, **options)

    from ml.tasks.teacher_lists import TeacherListsTask

    made = TeacherListsTask.training_batch
    steps = 0

    def interrupting(*arguments):
        nonlocal steps
        steps += 1
        if steps % 5 == 0:
            raise _Interrupted
        return made(*arguments)

    monkeypatch.setattr(TeacherListsTask, "training_batch", interrupting)
    lives, resumed = 1, None
    while resumed is None:
        try:
            resumed = train(recipe, ring, tmp_path / "resumed", checkpoint_seconds=0, **options)
        except _Interrupted:
            lives += 1
    assert lives >= 4  # 16 steps, four in each life
    assert resumed.weights_digest == whole.weights_digest


def test_lists_are_part_of_what_a_checkpoint_is_bound_to(ring, tmp_path):
    recipe = student_recipe(training={"max_epochs": 1})
    of_lists = [ring_lists(ring, seed=seed) for seed in (0, 1)]
    execution = Execution(threads=1, checkpoints=tmp_path)
    bindings = set()
    for lists in of_lists:
        recommender = SequentialRecommender(recipe, 0, execution=execution, teacher_lists=lists)
        recommender._check_teacher_lists()
        checkpoint = recommender._checkpoint("search", False)
        assert checkpoint is not None
        bindings.add(checkpoint.binding)
    assert len(bindings) == 2


@pytest.mark.parametrize(
    ("recipe", "lists", "message"),
    [
        (student_recipe(), None, "this model is taught the lists ring_lists, and none were given"),
        (student_recipe(marks=2), lists_recipe(), r"model.marks is 2, and .* are at 1 trade-offs \(0\): it must be 1"),
        (student_recipe(), two_tradeoffs(), r"model.marks is 1, .* are at 2 trade-offs \(0, 1\): it must be 2"),
        (student_recipe(model={"list_length": 3}), lists_recipe(), "model.list_length is 3, .* it must be at least 4"),
        (student_recipe(2, tradeoff=0.5), two_tradeoffs(), "tradeoff is 0.5, and the lists ring_lists are at 0, 1"),
        (toy_recipe(), lists_recipe(), "teacher lists were given to a model that is taught none"),
    ],
)
def test_a_student_and_lists_that_do_not_fit_are_refused(ring, recipe, lists, message):
    made = None if lists is None else ring_lists(ring, lists)
    with pytest.raises(ValueError, match=f"recipe {recipe.name}: {message}"):
        taught(recipe, made, ring)


def test_lists_of_another_training_set_are_refused(ring):
    lists = ring_lists(ring_training_set(seed=1))
    with pytest.raises(ValueError, match="made for other training histories than those of ring: make them again"):
        taught(student_recipe(), lists, ring)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher_lists": None}, 'needs lists: name a recipe of them, as in teacher_lists = "sasrec_lists"'),
        ({"task": {"name": "next_item"}}, "the key teacher_lists goes with the task teacher_lists alone; remove it"),
        ({"tradeoff": 1.5}, r"tradeoff must be from 0 \(accuracy alone\) to 1 \(the goal alone\), not 1.5"),
        ({"tradeoff": "best"}, 'tradeoff must be a number or "validation", not'),
    ],
)
def test_a_recipe_of_a_student_that_is_wrong_is_refused(change, message):
    tables = student_recipe().as_tables() | change
    tables = {key: value for key, value in tables.items() if value is not None}
    with pytest.raises(TableError, match=f"the file: .*{message}"):
        recipe_from_tables("student", tables, "the file")


@pytest.mark.parametrize("key", ["teacher_lists", "tradeoff"])
def test_a_recipe_that_is_no_students_has_no_such_keys(key):
    tables = toy_recipe().as_tables() | {key: "validation"}
    with pytest.raises(TableError, match=f"the file: the key {key} goes with the task teacher_lists alone; remove it"):
        recipe_from_tables("toy", tables, "the file")


def test_a_model_without_marks_cannot_be_taught():
    tables = toy_recipe().as_tables() | {"task": {"name": "teacher_lists"}, "teacher_lists": "ring_lists"}
    with pytest.raises(TableError, match="needs a model that writes its lists behind a mark: gptrec with"):
        recipe_from_tables("toy", tables, "the file")


def test_recipes_say_what_was_taught_and_others_stay_as_they_were():
    recipe = student_recipe(marks=2, tradeoff="validation")
    assert recipe_from_tables("student", recipe.as_tables(), "the test") == recipe
    assert replace(recipe, tradeoff=None).digest() != recipe.digest()
    assert replace(recipe, teacher_lists="other").digest() != recipe.digest()
    assert not {"teacher_lists", "tradeoff"} & toy_recipe().as_tables().keys()


@pytest.mark.parametrize("fit_on", [FIT_ON_TRAIN, FIT_ON_BOTH])
def test_a_student_is_fitted_by_name_with_its_teacher(fit_on):
    training_set = ring_training_set(40)
    lists = lists_recipe(teacher="markov_chain")
    recipe = student_recipe(training={"max_epochs": 2, "patience": 2})
    registry = Registry({"student": recipe}, {}, teacher_lists={"ring_lists": lists})
    assert registry.teacher_of("student") == "markov_chain"
    assert registry.teacher_of("markov_chain") is None
    fitted: dict = {}
    student = fit("student", training_set, Conditions(3, fit_on, exclude_seen=True), registry, fitted)
    assert isinstance(student, SequentialRecommender)
    assert student.fit_on == fit_on
    assert student.taught is not None
    assert student.taught["teacher"] == "markov_chain"
    assert sorted(student.teacher_lists.tables) == sorted({FIT_ON_TRAIN, fit_on})
    # the teacher of the final fit is the recommender of that name
    assert set(fitted) == {"student", "markov_chain"}


def test_a_folder_says_how_good_student_and_teacher_are(ring, student, tmp_path):
    student.save(tmp_path)
    own, of_teacher = student_and_teacher(tmp_path)
    assert (own, of_teacher) == (student.best_validation_ndcg_at_10, 1.0)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DamagedFile, match="best_validation_ndcg_at_10"):
        student_and_teacher(tmp_path)


def test_an_empty_history_has_a_list(student):
    found = student.recommend(Sequences.from_lists([[], [3]]), DEPTH, exclude_seen=True)
    assert (found.items >= 0).all()


def test_a_teacher_is_fitted_before_its_student_and_both_before_a_fusion(monkeypatch, tmp_path):
    from ml.fusion.recipe import FusionRecipe
    from ml.reproduction import fit as reproduction
    from ml.reproduction.claims import Claim

    recipe = student_recipe(training={"max_epochs": 1, "patience": 1})
    fusion = FusionRecipe("both", "Both", "none", "", "full", ("student", "most_popular"), depth=20)

    def registry(lists):
        return Registry({"student": recipe}, {"both": fusion}, {}, teacher_lists={"ring_lists": lists})

    known = registry(lists_recipe(teacher="markov_chain"))
    assert known.built_on("both") == ("markov_chain", "student", "most_popular")
    assert known.built_on("student") == ("markov_chain",)
    assert known.built_on("markov_chain") == ()
    monkeypatch.setattr(reproduction, "_known", lambda: known)
    claim = Claim("both", "Both", "ring", "both", FIT_ON_TRAIN, "none", seeds=1)
    fits = reproduction.needed_fits([claim])
    order = [each.recommender for each in fits]
    assert order.index("markov_chain") < order.index("student") < order.index("both")
    bench = reproduction.Bench(ring_training_set(40), True, tmp_path, "code", threads=1)
    results = {each.recommender: reproduction.measured(bench, each) for each in fits}
    assert (tmp_path / "student" / FIT_ON_TRAIN / "seed-0" / "fitted").exists()
    # no teacher was trained beside the one that was measured
    assert not list(tmp_path.rglob("*teacher*"))
    # other lists are another result
    changed = registry(lists_recipe(teacher="markov_chain", histories_per_user=2))
    monkeypatch.setattr(reproduction, "_known", lambda: changed)
    student = next(each for each in fits if each.recommender == "student")
    assert reproduction._key(bench, student) != results["student"].key
    teacher = next(each for each in fits if each.recommender == "markov_chain")
    assert reproduction._key(bench, teacher) == results["markov_chain"].key


def test_the_report_names_the_teacher_and_the_tradeoff(distilled, tmp_path):
    from ml.reports.content.evaluation import LeaderboardRow
    from ml.reports.words.recommenders import described

    folder = tmp_path / "models" / "student"
    folder.mkdir(parents=True)
    distilled.at_tradeoff(1.0).save(folder)
    row = LeaderboardRow({"recommender": "student", "title": "Student", "kind": "model"})
    (entry,) = described(tmp_path, (row,))
    assert "writes its list item by item" in entry.text
    assert entry.text.endswith(
        "It was taught the lists of ring at 2 trade-offs between accuracy and popularity percentile."
    )
    assert entry.settings["teacher"] == "ring"
    assert entry.settings["tradeoff"] == "1"
    # there were no validation users
    assert "validation nDCG@10 of the teacher" not in entry.settings
