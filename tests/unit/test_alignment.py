"""Alignment in worlds whose best list is known: it is found, by both methods; what is kept, chosen and resumed."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from alignment_toys import student_recipe, toy_recipe, trained_student, world
from costs import others_slow

from ml.alignment.align import align
from ml.alignment.choice import Candidate, choose
from ml.alignment.log import read_log
from ml.alignment.policy import prompts_of, write_lists
from ml.alignment.runtime import AlignmentExecution
from ml.alignment.summary import policy_folder, read_alignment, version_of_aligned, weights_of
from ml.beyond_accuracy.goals import GOALS, GoalOnData, goal_on
from ml.beyond_accuracy.measures import ndcg
from ml.data.files import DamagedFile
from ml.data.training_set import FIT_ON_BOTH, TrainingSet
from ml.recommenders.aligned import AlignedRecommender
from ml.training.loop import DivergedError
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.weights_digest import weights_digest

ITEMS = 12
# the first half of the catalogue is of one category, and popular
HALVES = np.eye(2, dtype=np.float32)[np.arange(ITEMS) // 6]
DIVERSITY = GoalOnData(GOALS["category_diversity"], HALVES, None)


@pytest.fixture(scope="module")
def popular_half() -> TrainingSet:
    """Histories of six items, nine in ten of them of the first half; validation targets of the same kind."""
    random = np.random.default_rng(0)
    shares = np.array([0.15] * 6 + [0.1 / 6] * 6)
    rows = random.choice(ITEMS, (200, 7), p=shares / shares.sum())
    return world(rows[:, :6].tolist(), ITEMS, rows[:, 6].tolist())


@pytest.fixture(scope="module")
def student(popular_half) -> SequentialRecommender:
    return trained_student(popular_half)


def lists_of(recommender: SequentialRecommender, training_set: TrainingSet) -> np.ndarray:
    """Greedy lists for the training histories, int64 ``[users, 4]``."""
    model, histories = recommender.model, training_set.histories("train")
    return write_lists(model, prompts_of(model, histories, recommender.mark, False), 4).items.numpy()


def mean_measure(goal: GoalOnData, lists: np.ndarray, training_set: TrainingSet) -> float:
    return float(goal.measure(lists, training_set.histories("train")).mean())


def without_validation_users(training_set: TrainingSet) -> TrainingSet:
    return replace(
        training_set,
        validation_users=training_set.validation_users[:0],
        validation_targets=training_set.validation_targets[:0],
    )


# with steps until the best lists are found, and room to spare
METHODS = {
    "ppo": {"method": "ppo", "steps": 120},
    "ppo_gpt_value": {"method": "ppo", "value": "gpt", "epochs": 2, "minibatches": 2, "steps": 60},
    "reinforce": {"method": "reinforce", "steps": 120},
}


# two goals by every way of learning: `test_more_weight_more_goal` goes one of them to the first goal, and
# `test_the_one_target_is_found` two to what is known to come
@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_most_diverse_lists_are_found(method, student, popular_half, tmp_path):
    before = lists_of(student, popular_half)
    assert (before < 6).all()  # no diversity to begin with
    recipe = toy_recipe(**method, accuracy_weight=0.1)
    align(recipe, student, popular_half, DIVERSITY, tmp_path / "toy")
    lists = lists_of(SequentialRecommender.load(policy_folder(tmp_path / "toy", 1.0)), popular_half)
    # two items of each category: 4 of 6 pairs differ, and no list has more
    assert mean_measure(DIVERSITY, lists, popular_half) == pytest.approx(4 / 6)
    assert (np.sort(lists, axis=1)[:, 1:] != np.sort(lists, axis=1)[:, :-1]).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_long_tail_is_found(method, student, popular_half, tmp_path):
    goal = goal_on("popularity", popular_half)
    recipe = toy_recipe(**method, accuracy_weight=0.0, goals=("popularity",))
    align(recipe, student, popular_half, goal, tmp_path / "toy")
    lists = lists_of(SequentialRecommender.load(policy_folder(tmp_path / "toy", 1.0)), popular_half)
    assert (lists >= 6).mean() > 0.95  # all but the popular ones
    assert mean_measure(goal, lists, popular_half) < 0.5 * mean_measure(
        goal, lists_of(student, popular_half), popular_half
    )


@pytest.mark.parametrize("method", others_slow(METHODS, "ppo", "reinforce"))
def test_the_one_target_is_found(method, tmp_path):
    """A student that knows nothing, and the same item at the end of every history."""
    random = np.random.default_rng(0)
    histories = random.choice(ITEMS, (60, 3))
    training_set = world([[*history, 7] for history in histories], ITEMS)
    student = trained_student(training_set, separate_output_embedding=True, max_epochs=1)
    model = copy.deepcopy(student.model)
    torch.nn.init.zeros_(model.output_embedding.weight)
    known = world(histories.tolist(), ITEMS)
    before = lists_of(student.with_model(model), known)
    assert (before == before[0]).all()  # all items are equally good
    assert before[0, 0] != 7
    recipe = toy_recipe(**method, cut="last", weights=(0.0,))
    align(recipe, student.with_model(model), training_set, DIVERSITY, tmp_path / "toy")
    lists = lists_of(SequentialRecommender.load(policy_folder(tmp_path / "toy", 0.0)), known)
    assert (lists[:, 0] == 7).all()


def test_weight_zero_does_not_lose_accuracy(student, popular_half, tmp_path):
    recipe = toy_recipe(weights=(0.0,), steps=20, validate_every=10)
    result = align(recipe, student, popular_half, DIVERSITY, tmp_path / "toy")
    assert result.policies[0].ndcg >= result.student.ndcg


@pytest.fixture(scope="module")
def front(student, popular_half, tmp_path_factory):
    """A finished alignment of two weights, and what it told."""
    folder = tmp_path_factory.mktemp("front")
    told = []
    execution = AlignmentExecution(log_to=folder / "log", tell=told.append)
    recipe = toy_recipe(weights=(0.0, 2.0), largest_loss=0.9)
    result = align(recipe, student, popular_half, DIVERSITY, folder / "toy", execution=execution)
    return result, told


def test_what_an_alignment_leaves(front, student, popular_half):
    result, told = front
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "alignment.json", "alignment_log.jsonl", "policies",
    ]  # fmt: skip
    assert weights_of(result.folder) == (0.0, 2.0)
    assert [path.name for path in result.folder.parent.iterdir() if path.name.endswith(".checkpoint")] == []
    assert (
        read_log(result.folder / "alignment_log.jsonl")
        == told
        == read_log(result.folder.parent / "log" / "alignment_log.jsonl")
    )
    described = read_alignment(result.folder)
    assert described["student"]["weights_digest"] == weights_digest(student.model.state_dict())
    for policy, measured in zip(described["policies"], result.policies, strict=True):
        recommender = SequentialRecommender.load(policy_folder(result.folder, policy["weight"]))
        assert recommender.aligned["student_weights_digest"] == described["student"]["weights_digest"]
        assert (recommender.aligned["goal"], recommender.aligned["weight"]) == ("category_diversity", policy["weight"])
        assert recommender.recipe == student.recipe
        # what is said of a policy is what its lists are worth
        lists = recommender.recommend(popular_half.histories("validation"), 4, False).items
        assert ndcg(lists, popular_half.validation_targets).mean() == pytest.approx(measured.ndcg)
        assert mean_measure(DIVERSITY, lists, popular_half) == pytest.approx(measured.goal)
        assert (recommender.validation_lists.items[:, :4] == lists).all()
        assert policy["validation_ndcg_at_10"] == measured.ndcg


def test_the_best_step_is_kept(front):
    _, told = front
    for weight in (0.0, 2.0):
        records = [record for record in told if record.weight == weight]
        assert [record.step for record in records] == [0, 20, 40, 60]
        for record in records:
            expected = record.validation_ndcg_at_10 + weight * record.validation_goal
            assert record.validation_reward == pytest.approx(expected)
    described = read_alignment(front[0].folder)
    for policy in described["policies"]:
        records = [record for record in told if record.weight == policy["weight"]]
        best = max(records, key=lambda record: record.validation_reward)
        assert policy["step"] == best.step
    # what is sampled is learned from
    assert all(record.reward is None for record in told if record.step == 0)
    last = told[-1]
    assert last.reward == pytest.approx(last.accuracy + 2 * last.goal)
    assert min(last.divergence, last.entropy, last.value_loss) > 0


def test_more_weight_more_goal(front):
    result, _ = front
    assert result.chosen == 2.0
    assert result.policies[1].goal > result.student.goal + 0.3


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize(
    ("method", "value"),
    # with all that is taken up again: the policy, a value network of its own, and their optimisers
    [
        ("ppo", "gpt"),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in [("ppo", "linear"), ("reinforce", "linear")]),
    ],
)
def test_a_killed_alignment_ends_with_the_same_policies(method, value, student, popular_half, tmp_path):
    recipe = toy_recipe(method=method, value=value, weights=(0.5, 2.0), steps=6, validate_every=2, batch_size=8)
    align(recipe, student, popular_half, DIVERSITY, tmp_path / "whole")
    told = []

    def tell(record):
        told.append(record)
        # in the second policy, with steps behind the last validation of which a checkpoint was taken
        if (record.weight, record.step) == (2.0, 4):
            raise Killed

    execution = AlignmentExecution(checkpoint_seconds=0, tell=tell)
    with pytest.raises(Killed):
        align(recipe, student, popular_half, DIVERSITY, tmp_path / "killed", execution=execution)
    assert not (tmp_path / "killed").exists()
    before = len(told)
    again = AlignmentExecution(checkpoint_seconds=0, tell=told.append)
    align(recipe, student, popular_half, DIVERSITY, tmp_path / "killed", execution=again)
    # the first policy and the first steps of the second one were not made again
    assert [(record.weight, record.step) for record in told[before:]] == [(2.0, 4), (2.0, 6)]
    assert read_alignment(tmp_path / "killed") == read_alignment(tmp_path / "whole")
    assert version_of_aligned(tmp_path / "killed") == version_of_aligned(tmp_path / "whole")
    assert len(read_log(tmp_path / "killed" / "alignment_log.jsonl")) == 8


def test_a_checkpoint_of_another_run_is_passed_over(student, popular_half, tmp_path):
    recipe = toy_recipe(weights=(2.0,), steps=4, validate_every=2, batch_size=8)

    def tell(record):
        if record.step == 2:
            raise Killed

    execution = AlignmentExecution(checkpoint_seconds=0, tell=tell)
    with pytest.raises(Killed):
        align(recipe, student, popular_half, DIVERSITY, tmp_path / "toy", execution=execution)
    told = []
    execution = AlignmentExecution(tell=told.append)
    align(recipe, student, popular_half, DIVERSITY, tmp_path / "toy", seed=1, execution=execution)
    assert [record.step for record in told] == [0, 2, 4]


def test_training_stops_when_validation_does(student, popular_half, tmp_path):
    told = []
    # a learning rate at which nothing can get better
    recipe = toy_recipe(
        policy_learning_rate=1e-12, weights=(0.0,), steps=60, validate_every=2, patience=3, batch_size=4
    )
    execution = AlignmentExecution(tell=told.append)
    result = align(recipe, student, popular_half, DIVERSITY, tmp_path / "toy", execution=execution)
    assert [record.step for record in told] == [0, 2, 4, 6]
    assert read_alignment(result.folder)["policies"][0]["step"] == 0


@pytest.mark.parametrize("start", ["student", "policy_before"])
def test_what_a_policy_starts_from(start, student, popular_half, tmp_path):
    told = []
    recipe = toy_recipe(start=start, weights=(2.0, 3.0), steps=20, validate_every=20)
    align(recipe, student, popular_half, DIVERSITY, tmp_path / "toy", execution=AlignmentExecution(tell=told.append))
    first, best, second = told[0], max(told[:2], key=lambda record: record.validation_reward), told[2]
    before = first if start == "student" else best
    assert best.step == 20
    assert (second.validation_ndcg_at_10, second.validation_goal) == (
        before.validation_ndcg_at_10, before.validation_goal,
    )  # fmt: skip


def test_the_student_is_left_as_it_is(student, popular_half, tmp_path):
    before = weights_digest(student.model.state_dict())
    align(toy_recipe(steps=2, validate_every=1), student, popular_half, DIVERSITY, tmp_path / "toy")
    assert weights_digest(student.model.state_dict()) == before
    assert all(parameter.requires_grad for parameter in student.model.parameters())
    assert student.aligned is None


def test_equal_seeds_equal_policies(student, popular_half, tmp_path):
    # without validation users the last weights are kept, so that a few steps are enough
    training_set = without_validation_users(popular_half)
    recipe = toy_recipe(steps=4, batch_size=8, weights=(5.0,))
    found = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        result = align(recipe, student, training_set, DIVERSITY, tmp_path / name, seed=seed)
        torch.manual_seed(5)  # nothing outside counts
        found.append(read_alignment(result.folder)["policies"][0]["weights_digest"])
    assert found[0] == found[1] != found[2]


def test_test_targets_are_not_read(student, popular_half, tmp_path):
    recipe = toy_recipe(steps=2, validate_every=1, batch_size=8)
    other = replace(popular_half, test_targets=popular_half.test_targets + 5)
    for name, training_set in (("one", popular_half), ("other", other)):
        align(recipe, student, training_set, DIVERSITY, tmp_path / name)
    one, other = (read_alignment(tmp_path / name) for name in ("one", "other"))
    assert one["policies"] == other["policies"]


def test_without_validation_users_the_last_weights_are_kept(student, popular_half, tmp_path):
    none = without_validation_users(popular_half)
    recipe = toy_recipe(weights=(0.0, 2.0, 3.0), steps=5, batch_size=8)
    result = align(recipe, student, none, DIVERSITY, tmp_path / "toy")
    described = read_alignment(result.folder)
    assert [policy["step"] for policy in described["policies"]] == [5, 5, 5]
    assert result.chosen == 2.0
    assert result.student == Candidate(None, None, None)


def test_where_all_lose_too_much_the_student_is_chosen(student, popular_half, tmp_path):
    recipe = toy_recipe(weights=(5.0,), accuracy_weight=0.0, largest_loss=0.0, steps=20)
    result = align(recipe, student, popular_half, DIVERSITY, tmp_path / "toy")
    assert result.policies[0].ndcg < result.student.ndcg
    assert result.chosen is None
    kept = SequentialRecommender.load(policy_folder(result.folder, None))
    assert weights_digest(kept.model.state_dict()) == weights_digest(student.model.state_dict())


def test_the_choice():
    student = Candidate(None, 0.10, 0.4)
    policies = [Candidate(0.1, 0.11, 0.5), Candidate(0.5, 0.096, 0.7), Candidate(1.0, 0.094, 0.9)]
    assert choose(student, policies, True, 0.05).weight == 0.5
    assert choose(student, policies, True, 0.06).weight == 1.0
    assert choose(student, policies, False, 0.05).weight is None  # less is better, and the student has least
    assert choose(student, [Candidate(0.1, 0.11, 0.4)], True, 0.05).weight is None  # nothing is gained
    assert choose(student, [Candidate(0.1, 0.11, None)], True, 0.05).weight is None


def test_diverged_training_leaves_nothing(student, popular_half, tmp_path):
    recipe = toy_recipe(policy_learning_rate=1e30, gradient_norm=0.0)
    with pytest.raises((DivergedError, ValueError), match=r"diverged|policy_learning_rate"):
        align(recipe, student, popular_half, DIVERSITY, tmp_path / "toy")
    assert list(tmp_path.iterdir()) == []


def test_a_student_that_writes_no_lists(popular_half, tmp_path):
    scores = trained_student(popular_half, max_epochs=1, lists="top_k")
    with pytest.raises(ValueError, match="does not generate its lists item by item"):
        align(toy_recipe(), scores, popular_half, DIVERSITY, tmp_path / "toy")


def test_a_student_of_another_catalogue(student, tmp_path):
    with pytest.raises(ValueError, match=r"catalogue of 12 items.* has 13"):
        align(toy_recipe(), student, world([[1, 2, 3]], 13), DIVERSITY, tmp_path / "toy")


def test_histories_of_one_item(student, tmp_path):
    with pytest.raises(ValueError, match="no training history has 2 items"):
        align(toy_recipe(), student, world([[1], [2], []], ITEMS), DIVERSITY, tmp_path / "toy")


def test_lists_as_long_as_the_catalogue_allows(tmp_path):
    training_set = world([[0, 1, 2], [2, 1, 0], [1, 0, 2]], 3, [0, 1, 2])
    student = trained_student(training_set, max_epochs=1)
    goal = goal_on("popularity", training_set)
    result = align(toy_recipe(steps=3, batch_size=4), student, training_set, goal, tmp_path / "toy")
    assert result.policies[0].goal == pytest.approx(float(goal.values.mean()))


def test_an_alignment_as_a_recommender(front, popular_half, tmp_path):
    result, told = front
    aligned = AlignedRecommender.load(result.folder)
    histories = popular_half.histories("validation")
    assert (aligned.weights, aligned.goal.name, aligned.log) == ((0.0, 2.0), "category_diversity", told)
    chosen, other = (aligned.lists(weight, histories, 4, False).items for weight in (2.0, 0.0))
    assert (aligned.recommend(histories, 4, False).items == chosen).all()
    assert (other != chosen).any()
    with pytest.raises(KeyError, match=r"no policy of weight 0.5; there are 0, 2"):
        aligned.lists(0.5, histories, 4, False)
    aligned.save(tmp_path)
    for path in result.folder.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(result.folder)).read_bytes() == path.read_bytes()
    with pytest.raises(RuntimeError, match="it has no student to be trained"):
        aligned.fit(popular_half)


def test_damaged_folders_are_refused(front, tmp_path):
    shutil.copytree(front[0].folder, tmp_path / "copy")
    (tmp_path / "copy" / "policies" / "2" / "model.safetensors").unlink()
    with pytest.raises(DamagedFile, match=r"model.safetensors"):
        AlignedRecommender.load(tmp_path / "copy")
    (tmp_path / "copy" / "alignment.json").write_text('{"format": "other"}')
    with pytest.raises(DamagedFile, match="it holds other"):
        AlignedRecommender.load(tmp_path / "copy")


def test_a_student_fitted_on_both(popular_half, tmp_path):
    """Its policies say what it was fitted on."""
    student = SequentialRecommender(
        student_recipe(max_epochs=1), execution=Execution(threads=1), fit_on=FIT_ON_BOTH
    ).fit(popular_half)
    align(toy_recipe(steps=2, validate_every=1), student, popular_half, DIVERSITY, tmp_path / "toy")
    assert read_alignment(tmp_path / "toy")["student"]["fit_on"] == FIT_ON_BOTH
    assert SequentialRecommender.load(policy_folder(tmp_path / "toy", 1.0)).fit_on == FIT_ON_BOTH
