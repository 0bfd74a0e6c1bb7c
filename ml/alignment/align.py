"""Aligning a student for all weights of a recipe, into a folder: what an orchestrator, a notebook and a shell call."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml.alignment.checkpoint import AlignmentCheckpoint
from ml.alignment.choice import Candidate, choose
from ml.alignment.log import FILE as LOG_FILE
from ml.alignment.log import GrowingLog, write_log
from ml.alignment.loop import AlignedPolicy, Surroundings, align_policy
from ml.alignment.recipe import AlignmentRecipe, folder_of_weight
from ml.alignment.runtime import AlignmentExecution
from ml.alignment.summary import ALIGNMENT_FILE, FORMAT, POLICIES, STUDENT
from ml.alignment.validation import Quality, validation_of
from ml.beyond_accuracy.goals import GoalOnData
from ml.data.training_set import TrainingSet
from ml.data.versions import versioned_folder
from ml.models.gptrec import GPTRec
from ml.training.checkpoint import checkpoint_folder, remove_checkpoints, run_fingerprint
from ml.training.devices import choose_device
from ml.training.loop import DivergedError
from ml.training.reproducible import reproducible
from ml.training.sequential_recommender import VALIDATION_DEPTH, SequentialRecommender
from ml.training.weights_digest import weights_digest

_CODE = ("alignment", "beyond_accuracy", "generation")


@dataclass(frozen=True)
class AlignmentResult:
    """Result of an alignment.

    Attributes:
        folder: where the policies were saved; :class:`ml.recommenders.aligned.AlignedRecommender` reads it.
        goal: name of the goal.
        student: nDCG@10 and goal of the student on the validation users.
        policies: the same of each policy, by ascending weight.
        chosen: weight of the policy that was chosen; ``None`` for the student.
        seconds: of training and validation of all policies.
    """

    folder: Path
    goal: str
    student: Candidate
    policies: tuple[Candidate, ...]
    chosen: float | None
    seconds: float


def align(
    recipe: AlignmentRecipe,
    student: SequentialRecommender,
    training_set: TrainingSet,
    goal: GoalOnData,
    folder: Path,
    seed: int = 0,
    execution: AlignmentExecution | None = None,
) -> AlignmentResult:
    """Align a student with a goal, a policy for each weight, and save them into ``folder``, whole or not at all.

    The folder holds ``alignment.json``, ``alignment_log.jsonl`` and ``policies/<weight>/``, each of which
    ``SequentialRecommender.load`` reads. Episodes come from the training histories; validation users decide when to
    stop and which policy is chosen; test targets are never read. Lists leave the items of the histories out as the
    student does for its validation users.

    Killed at any moment and called again with the same arguments, it goes on from its last checkpoint, and ends with
    the same weights bit for bit on a processor. Checkpoints lie in a hidden folder beside ``folder`` until the result
    is in place; those of other arguments, data or code are passed over and replaced.

    Args:
        recipe: what to do.
        student: trained; generates its lists item by item. It is not changed.
        training_set: that it was trained on.
        goal: on the items of this training set.
        folder: replaced as a whole; left as it was if the alignment fails.
        seed: of everything random.
        execution: threads, device, checkpoints, log.

    Raises:
        ValueError: the student does not write lists or is of another catalogue, or all histories are too short.
        DivergedError: a loss is no finite number any more.
    """
    execution = AlignmentExecution() if execution is None else execution
    model = _model_of(student, training_set)
    device = choose_device(execution.device)
    validation_lists = student.validation_lists
    student = student.with_model(copy.deepcopy(model).to(device).requires_grad_(False).eval())
    student.validation_lists = validation_lists
    _check_tradeoffs(recipe, student)
    if recipe.tradeoffs:
        # policies are compared with the student at its first trade-off
        student = student.at_tradeoff(student.tradeoffs[0])
    student.execution = replace(student.execution, threads=execution.threads, device=execution.device)
    exclude_seen = student.validate_with_seen_excluded
    with reproducible(execution.threads, device):
        surroundings = Surroundings(
            recipe=recipe,
            student=student,
            training=training_set.histories("train"),
            goal=goal,
            validation=validation_of(
                training_set, goal, exclude_seen, model.list_length, recipe.validation_users, seed
            ),
            exclude_seen=exclude_seen,
            seed=seed,
        )
        work = checkpoint_folder(folder)
        try:
            policies = _align_all(surroundings, training_set, work, execution)
        except DivergedError:
            # it would diverge again
            remove_checkpoints(work)
            raise
        quality = None if surroundings.validation is None else surroundings.validation.quality(student)
    described = _described(surroundings, training_set, policies, quality)
    with versioned_folder(folder) as working:
        for policy in policies:
            name = folder_of_weight(policy.weight)
            place = working / POLICIES / name
            place.mkdir(parents=True)
            _save(surroundings.of_weight(policy.weight), training_set, policy, place)
        if described["chosen"] is None:
            (working / STUDENT).mkdir()
            student.save(working / STUDENT)
        write_log((record for policy in policies for record in policy.log), working / LOG_FILE)
        (working / ALIGNMENT_FILE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    remove_checkpoints(work)
    return AlignmentResult(
        folder=folder,
        goal=goal.goal.name,
        student=Candidate(None, *_both(described["student"])),
        policies=tuple(Candidate(each["weight"], *_both(each)) for each in described["policies"]),
        chosen=described["chosen"],
        seconds=sum(policy.log[-1].seconds for policy in policies),
    )


def _both(measured: dict[str, Any]) -> tuple[float | None, float | None]:
    return measured["validation_ndcg_at_10"], measured["validation_goal"]


def _model_of(student: SequentialRecommender, training_set: TrainingSet) -> GPTRec:
    """The model of a student, checked.

    Raises:
        ValueError: it does not write lists, or is of another catalogue.
    """
    model = student.model
    if not isinstance(model, GPTRec) or not model.writes_lists:
        raise ValueError(
            f"{student.recipe.name} does not generate its lists item by item, so there is nothing to align: a student "
            'has the architecture gptrec with lists = "next_k"'
        )
    if model.items != training_set.items:
        raise ValueError(
            f"{student.recipe.name} was trained on a catalogue of {model.items} items, the training set "
            f"{training_set.dataset} has {training_set.items}: train it again on the present one"
        )
    return model


def _check_tradeoffs(recipe: AlignmentRecipe, student: SequentialRecommender) -> None:
    """Check that the student was taught the trade-offs that the policies are to start from.

    Raises:
        ValueError: it was not.
    """
    unknown = [tradeoff for tradeoff in recipe.tradeoffs if tradeoff not in student.tradeoffs]
    if unknown:
        taught = ", ".join(f"{each:g}" for each in student.tradeoffs) or "none"
        raise ValueError(
            f"{recipe.name}: {student.recipe.name} was not taught the trade-off {unknown[0]:g}, which a policy is to "
            f"start from; it was taught {taught}"
        )


def _align_all(
    surroundings: Surroundings, training_set: TrainingSet, work: Path, execution: AlignmentExecution
) -> list[AlignedPolicy]:
    recipe = surroundings.recipe
    policies: list[AlignedPolicy] = []
    start = surroundings.student_model
    with GrowingLog(execution.log_to, tell=execution.tell) as log:
        for weight in recipe.weights:
            own = surroundings.of_weight(weight)
            if policies and recipe.start == "policy_before":
                start = copy.deepcopy(surroundings.student_model)
                start.load_state_dict(policies[-1].weights)
            checkpoint = None
            if execution.checkpoint_seconds is not None:
                checkpoint = AlignmentCheckpoint(
                    work / f"{folder_of_weight(weight)}.safetensors",
                    _binding(own, training_set, weight, start, execution),
                    execution.checkpoint_seconds,
                )
            policies.append(align_policy(own, weight, start, checkpoint, log))
    return policies


def _binding(
    surroundings: Surroundings,
    training_set: TrainingSet,
    weight: float,
    start: GPTRec,
    execution: AlignmentExecution,
) -> str:
    """Fingerprint of all that decides the policy of a weight."""
    decisive = {**surroundings.recipe.settings(), "weights": [weight]}
    # the trade-off of a weight is known by its mark
    del decisive["name"], decisive["largest_loss"], decisive["tradeoffs"]
    return run_fingerprint(
        _CODE,
        recipe=decisive,
        student=weights_digest(surroundings.student_model.state_dict()),
        start=weights_digest(start.state_dict()),
        training_set=training_set.digest(),
        goal=goal_digest(surroundings.goal),
        mark=surroundings.mark,
        exclude_seen=surroundings.exclude_seen,
        seed=surroundings.seed,
        threads=execution.threads,
        device=choose_device(execution.device).type,
    )


def goal_digest(goal: GoalOnData) -> str:
    """SHA-256 of the name of a goal and of what it measures the items by."""
    digest = hashlib.sha256(goal.goal.name.encode())
    for array in (goal.vectors, goal.values):
        if array is not None:
            digest.update(f"{array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _save(surroundings: Surroundings, training_set: TrainingSet, policy: AlignedPolicy, folder: Path) -> None:
    """A policy as a recommender of its own: the student's recipe and class with other weights."""
    student, recipe = surroundings.student, surroundings.recipe
    model = copy.deepcopy(surroundings.student_model)
    model.load_state_dict(policy.weights)
    recommender = student.with_model(model)
    recommender.aligned = {
        "recipe": recipe.name,
        "recipe_digest": recipe.digest(),
        "method": recipe.method,
        "goal": surroundings.goal.goal.name,
        "weight": policy.weight,
        "student_weights_digest": weights_digest(surroundings.student_model.state_dict()),
        "seed": surroundings.seed,
        "step": policy.best_step,
        "validation_ndcg_at_10": policy.best.validation_ndcg_at_10,
        "validation_goal": policy.best.validation_goal,
    }
    if len(training_set.validation_users):
        recommender.validation_lists = recommender.recommend(
            training_set.histories("validation"),
            min(VALIDATION_DEPTH, training_set.items),
            surroundings.exclude_seen,
        )
    recommender.save(folder)


def _described(
    surroundings: Surroundings,
    training_set: TrainingSet,
    policies: list[AlignedPolicy],
    student_quality: Quality | None,
) -> dict[str, Any]:
    """``alignment.json``."""
    recipe, student, goal = surroundings.recipe, surroundings.student, surroundings.goal.goal
    of_student = Candidate(
        None, *((None, None) if student_quality is None else (student_quality.ndcg, student_quality.goal))
    )
    candidates = [
        Candidate(policy.weight, policy.best.validation_ndcg_at_10, policy.best.validation_goal) for policy in policies
    ]
    chosen = choose(of_student, candidates, goal.higher_is_better, recipe.largest_loss)
    return {
        "format": FORMAT,
        "recipe_name": recipe.name,
        "recipe_digest": recipe.digest(),
        "recipe": recipe.settings(),
        "goal": {"name": goal.name, "title": goal.title, "higher_is_better": goal.higher_is_better},
        "goal_digest": goal_digest(surroundings.goal),
        "student": {
            "recipe": student.recipe.name,
            "weights_digest": weights_digest(surroundings.student_model.state_dict()),
            "fit_on": student.fit_on,
            **_measured(of_student),
        },
        "policies": [
            {
                "weight": policy.weight,
                "step": policy.best_step,
                "steps": policy.log[-1].step,
                "weights_digest": weights_digest(policy.weights),
                **_measured(candidate),
            }
            for policy, candidate in zip(policies, candidates, strict=True)
        ],
        "chosen": chosen.weight,
        "exclude_seen": surroundings.exclude_seen,
        "validation_users": 0 if surroundings.validation is None else len(surroundings.validation.targets),
        "training_set_digest": training_set.digest(),
        "seed": surroundings.seed,
    }


def _measured(candidate: Candidate) -> dict[str, float | None]:
    return {"validation_ndcg_at_10": candidate.ndcg, "validation_goal": candidate.goal}
