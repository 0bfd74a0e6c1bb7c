"""Models that are taught lists at several trade-offs: which mark asks for which list, and at which they recommend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.beyond_accuracy.affordable import most_of_the_goal
from ml.beyond_accuracy.goal import GoalOnData, goal_named
from ml.beyond_accuracy.measures import ndcg
from ml.data.teacher_lists import TeacherLists
from ml.data.training_set import TrainingSet
from ml.training.recipe import Recipe


def check_lists_of_recipe(recipe: Recipe, tradeoffs: tuple[float, ...], depth: int) -> None:
    """Check that a model can be taught lists.

    Args:
        recipe: of the model.
        tradeoffs: of the lists.
        depth: items of a list.

    Raises:
        ValueError: the model has another number of marks or writes shorter lists, or its recipe asks for a trade-off
            that there are no lists at.
    """
    model: Any = recipe.model
    listed = ", ".join(f"{tradeoff:g}" for tradeoff in tradeoffs)
    if model.marks != len(tradeoffs):
        raise ValueError(
            f"model.marks is {model.marks}, and the lists {recipe.teacher_lists} are at {len(tradeoffs)} trade-offs "
            f"({listed}): it must be {len(tradeoffs)}, one mark each"
        )
    if model.list_length < depth:
        raise ValueError(
            f"model.list_length is {model.list_length}, and the lists {recipe.teacher_lists} hold {depth} items: it "
            f"must be at least {depth}"
        )
    if isinstance(recipe.tradeoff, float) and recipe.tradeoff not in tradeoffs:
        raise ValueError(f"tradeoff is {recipe.tradeoff:g}, and the lists {recipe.teacher_lists} are at {listed}")


@dataclass(frozen=True)
class MeasuredTradeoffs:
    """A model at each trade-off that it was taught, on the validation users.

    Attributes:
        tradeoffs: ascending.
        ndcg: nDCG@10 of its lists.
        goal: mean measure of the goal; ``nan`` where it is undefined.
        chosen: the one with the most of the goal that loses at most 5 % of the nDCG@10 of the first.
    """

    tradeoffs: tuple[float, ...]
    ndcg: tuple[float, ...]
    goal: tuple[float, ...]
    chosen: float

    def as_json(self) -> dict[str, Any]:
        """As JSON values, with ``None`` for ``nan``."""
        goal = [None if np.isnan(each) else each for each in self.goal]
        return {"tradeoffs": list(self.tradeoffs), "ndcg@10": list(self.ndcg), "goal@10": goal, "chosen": self.chosen}


def measured_tradeoffs(
    lists_at: Callable[[float], np.ndarray], lists: TeacherLists, training_set: TrainingSet
) -> MeasuredTradeoffs:
    """Measure what a model writes at each trade-off, and choose one.

    Args:
        lists_at: gives the lists of the validation users at a trade-off, int ``[users, k]``.
        lists: that the model was taught, with their goal.
        training_set: whose validation users these are; at least one.
    """
    histories, targets = training_set.histories("validation"), np.asarray(training_set.validation_targets)
    on = None if lists.goal is None else GoalOnData(goal_named(lists.goal), lists.goal_vectors, lists.goal_values)
    ndcgs, goals = [], []
    for tradeoff in lists.tradeoffs:
        found = lists_at(tradeoff)
        ndcgs.append(float(ndcg(found, targets).mean()))
        measures = np.full(1, np.nan) if on is None else on.measure(found, histories)
        known = measures[~np.isnan(measures)]
        goals.append(float(known.mean()) if len(known) else float("nan"))
    place = most_of_the_goal(ndcgs, goals, on is not None and on.goal.higher_is_better)
    return MeasuredTradeoffs(lists.tradeoffs, tuple(ndcgs), tuple(goals), lists.tradeoffs[place])
