"""Rewards of lists, place by place: accuracy, and a weighted goal.

A place that holds a target is worth ``DCG_i / IDCG``, so that the accuracy of a list sums to its nDCG. What each item
adds to the goal sums to the measure of the list (:meth:`GoalOnData.gains`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.beyond_accuracy.goals import GoalOnData
from ml.data.sequences import Sequences
from ml.recommender import NO_ITEM


@dataclass(frozen=True)
class Rewards:
    """Both parts of the rewards of some lists, not weighted, float64 ``[lists, places]``.

    Attributes:
        accuracy: sums to the nDCG of a list.
        goal: sums to the measure of a list, or to its negative where less is better.
    """

    accuracy: np.ndarray
    goal: np.ndarray

    def weighted(self, accuracy_weight: float, weight: float) -> np.ndarray:
        """The rewards that are learned from, float64 ``[lists, places]``."""
        return accuracy_weight * self.accuracy + weight * self.goal


def rewards_of(lists: np.ndarray, targets: np.ndarray, histories: Sequences, goal: GoalOnData) -> Rewards:
    """Both parts for each place of each list.

    Args:
        lists: item indices, int ``[lists, places]``, :data:`NO_ITEM` where a list has ended.
        targets: int ``[lists, targets]``, padded with :data:`NO_ITEM`.
        histories: what the lists were written for.
        goal: measures them.
    """
    gains = np.nan_to_num(goal.gains(lists, histories))
    return Rewards(accuracy_rewards(lists, targets), gains if goal.goal.higher_is_better else -gains)


def accuracy_rewards(lists: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """``DCG_i / IDCG`` at each place that holds a target, float64 ``[lists, places]``.

    Args:
        lists: int ``[lists, places]``, each item once; :data:`NO_ITEM` where a list has ended.
        targets: int ``[lists, targets]``, in any order, padded with :data:`NO_ITEM`; an item that stands there twice
            counts once.
    """
    places = lists.shape[1]
    discounts = 1 / np.log2(np.arange(2, places + 2))
    hits = (lists[:, :, None] == targets[:, None, :]).any(axis=2) & (lists != NO_ITEM)
    ordered = np.sort(targets, axis=1)
    different = (ordered != NO_ITEM) & (np.diff(ordered, axis=1, prepend=NO_ITEM - 1) != 0)
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(different.sum(axis=1), places)]
    return np.divide(hits * discounts, ideal[:, None], out=np.zeros(lists.shape), where=ideal[:, None] > 0)
