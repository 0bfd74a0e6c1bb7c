"""What a goal beyond accuracy is, and how lists are measured by it. What the items of a dataset need for it is in
:mod:`ml.beyond_accuracy.goals`, which reads their texts and vectors; this module needs numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ml.beyond_accuracy import measures
from ml.config import nearest
from ml.data.sequences import Sequences


@dataclass(frozen=True)
class Goal:
    """A goal, whatever the data.

    Attributes:
        name: key of :data:`GOALS`.
        title: for tables and plots.
        higher_is_better: whether lists are better the higher the measure is.
        kind: what is measured: ``diversity`` within a list, ``novelty`` to the history, or ``popularity``.
        basis: what it is measured by: ``category``, ``text``, ``co_occurrence`` or ``popularity``.
    """

    name: str
    title: str
    higher_is_better: bool
    kind: str
    basis: str


GOALS: Mapping[str, Goal] = MappingProxyType(
    {
        goal.name: goal
        for goal in (
            Goal("category_diversity", "Intra-list distance by category", True, "diversity", "category"),
            Goal("text_diversity", "Intra-list distance by text", True, "diversity", "text"),
            Goal("co_occurrence_diversity", "Intra-list distance by co-occurrence", True, "diversity", "co_occurrence"),
            Goal("category_novelty", "Distance to the history by category", True, "novelty", "category"),
            Goal("text_novelty", "Distance to the history by text", True, "novelty", "text"),
            Goal("popularity", "Popularity percentile", False, "popularity", "popularity"),
        )
    }
)


@dataclass(frozen=True, eq=False)
class GoalOnData:
    """A goal on the items of a training set.

    Attributes:
        goal: which.
        vectors: float32 ``[items, dimensions]``, rows of length 1, or 0 where nothing is known of an item; ``None`` for
            goals that are no distances.
        values: of each item, float32 ``[items]``: for ``popularity`` the share of the catalogue with fewer training
            interactions, items with equally many counted half; ``None`` for goals that are distances.
    """

    goal: Goal
    vectors: np.ndarray | None
    values: np.ndarray | None

    def __post_init__(self) -> None:
        if (self.vectors is None) == (self.values is None):
            raise ValueError("a goal on data has either vectors or values of the items")

    def gains(self, lists: np.ndarray, histories: Sequences) -> np.ndarray:
        """What each place adds to the measure of its list, float64 ``[rows, k]``; 0 at empty places, at items of which
        nothing is known, and in lists whose measure is undefined.

        Diversity: ``2 / (n (n - 1)) * sum_{j < i} d_ij``; novelty: the mean distance to the history, divided by n;
        popularity: the percentile divided by n, to be kept low. n counts the items of the list that take part. The sum
        over a list is :meth:`measure`.

        Args:
            lists: int ``[rows, k]``, no item twice in a row, ``NO_ITEM`` for none.
            histories: of the same users, ``[rows]``.

        Raises:
            ValueError: lists hold items that are not of the catalogue, or there is not one history a list.
        """
        if self.vectors is None:
            assert self.values is not None
            return measures.mean_value_gains(lists, self.values)
        if self.goal.kind == "novelty":
            return measures.novelty_gains(lists, self.vectors, histories)
        return measures.intra_list_distance_gains(lists, self.vectors)

    def measure(self, lists: np.ndarray, histories: Sequences) -> np.ndarray:
        """The measure of each list, float64 ``[rows]``; ``nan`` where it is undefined: diversity of fewer than two
        known items, novelty without a known item in list and history, popularity of an empty list.

        Args:
            lists: int ``[rows, k]``, no item twice in a row, ``NO_ITEM`` for none.
            histories: of the same users, ``[rows]``.

        Raises:
            ValueError: lists hold items that are not of the catalogue, or there is not one history a list.
        """
        if self.vectors is None:
            assert self.values is not None
            return measures.mean_value(lists, self.values)
        if self.goal.kind == "novelty":
            return measures.novelty_to_history(lists, self.vectors, histories)
        return measures.intra_list_distance(lists, self.vectors)


def goal_named(name: str) -> Goal:
    """The goal of that name.

    Raises:
        ValueError: there is none; the message names those that there are.
    """
    if name not in GOALS:
        raise ValueError(f"there is no goal {name}{nearest(name, GOALS)}; there are {', '.join(GOALS)}")
    return GOALS[name]
