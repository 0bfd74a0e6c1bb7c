"""Goals beyond accuracy that lists are re-ranked, generated and compared for.

A :class:`Goal` describes a goal, whatever the data. :func:`goal_on` binds it to the items of a training set, or says
why they cannot have it; the :class:`GoalOnData` measures lists, and gives what each place of a list adds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.beyond_accuracy import measures
from ml.beyond_accuracy.goal import GOALS, Goal, GoalOnData, goal_named
from ml.beyond_accuracy.vectors import categories_of, category_vectors, co_occurrence_vectors, text_vectors_of
from ml.data.training_set import TrainingSet

__all__ = ["GOALS", "Goal", "GoalOnData", "GoalUnavailable", "available_goals", "first_goal", "goal_named", "goal_on"]

# what the items of a dataset lack where a goal cannot be had, by its basis
_LACK = {
    "category": "have no categories, or all the same one",
    "text": "have no text",
    "co_occurrence": "are in no training history",
    "popularity": "are in no training history",
}


class GoalUnavailable(ValueError):
    """The items of a dataset lack what a goal needs; the message says what, and which goals they can have."""


def goal_on(name: str, training_set: TrainingSet) -> GoalOnData:
    """A goal on the items of a training set.

    Args:
        name: key of :data:`GOALS`.
        training_set: with its item text, where it has one, and best with the vectors of it
            (:func:`ml.text.vectors.load_text_vectors`), which are computed otherwise.

    Raises:
        ValueError: there is no such goal.
        GoalUnavailable: the items lack what it needs.
    """
    goal = goal_named(name)
    if not _has(goal.basis, training_set):
        others = available_goals(training_set)
        raise GoalUnavailable(
            f"the items of {training_set.dataset} {_LACK[goal.basis]}, so the goal {name} cannot be measured; "
            + (f"choose one of {', '.join(others)}" if others else "no other goal can be measured on them either")
        )
    if goal.basis == "popularity":
        interactions = np.bincount(training_set.train.items, minlength=training_set.items)
        return GoalOnData(goal, None, measures.popularity_percentiles(interactions).astype(np.float32))
    return GoalOnData(goal, _VECTORS[goal.basis](training_set), None)


def available_goals(training_set: TrainingSet) -> tuple[str, ...]:
    """Names of the goals that the items of a training set have what they need for, in the order of :data:`GOALS`."""
    return tuple(name for name, goal in GOALS.items() if _has(goal.basis, training_set))


def first_goal(names: Sequence[str], training_set: TrainingSet) -> GoalOnData:
    """The first of some goals that the items of a training set have what they need for.

    Raises:
        GoalUnavailable: there is none; the message is that of the first goal.
    """
    available = available_goals(training_set)
    return goal_on(next((name for name in names if name in available), names[0]), training_set)


def _has(basis: str, training_set: TrainingSet) -> bool:
    if basis == "category":
        return categories_of(training_set) is not None
    if basis == "text":
        return text_vectors_of(training_set) is not None
    return len(training_set.train.items) > 0


def _by_category(training_set: TrainingSet) -> np.ndarray:
    categories = categories_of(training_set)
    assert categories is not None
    return category_vectors(categories)


def _by_co_occurrence(training_set: TrainingSet) -> np.ndarray:
    return co_occurrence_vectors(training_set.train, training_set.items)


_VECTORS = {"category": _by_category, "text": text_vectors_of, "co_occurrence": _by_co_occurrence}
