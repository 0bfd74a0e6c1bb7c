"""Goals beyond accuracy that lists are re-ranked, generated and compared for.

A :class:`Goal` describes a goal, whatever the data. :func:`goal_on` binds it to the items of a training set, or says
why they cannot have it; the :class:`GoalOnData` measures lists, and gives what each place of a list adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ml.beyond_accuracy import measures
from ml.beyond_accuracy.vectors import categories_of, category_vectors, co_occurrence_vectors, text_vectors_of
from ml.config import nearest
from ml.data.training_set import Sequences, TrainingSet


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
# what the items of a dataset lack where a goal cannot be had, by its basis
_LACK = {
    "category": "have no categories, or all the same one",
    "text": "have no text",
    "co_occurrence": "are in no training history",
    "popularity": "are in no training history",
}


class GoalUnavailable(ValueError):
    """The items of a dataset lack what a goal needs; the message says what, and which goals they can have."""


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
