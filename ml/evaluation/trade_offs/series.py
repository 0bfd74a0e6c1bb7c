"""Series of lists at several trade-offs, and what is measured of them for each user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np

from ml.beyond_accuracy import measures
from ml.beyond_accuracy.goals import GoalOnData, GoalUnavailable
from ml.data.training_set import TrainingSet
from ml.evaluation.metrics import ndcg_of_lists

CUT = 10


class ListSeries(Protocol):
    """Lists at several trade-offs, fitted with one seed.

    Attributes:
        name: of the recommender or recipe that it is made of.
        title: for tables and plots.
        kind: what trades, in a word or two, such as ``re-ranking``.
        goal: key of :data:`ml.beyond_accuracy.goals.GOALS`.
        start: what gives the first lists, for tables, such as the title of the recommender that is re-ranked.
        parameter: what is varied: ``tradeoff``, or ``weight`` of the goal.
        tradeoffs: its values, ascending from the 0 of the start.
    """

    name: str
    title: str
    kind: str
    goal: str
    start: str
    parameter: str
    tradeoffs: tuple[float, ...]

    def lists(self, place: int, split: str, k: int) -> np.ndarray | None:
        """The best k items for each case of ``test`` or ``validation`` at one of the ``tradeoffs``, int ``[cases, k]``,
        ``NO_ITEM`` for none; ``None`` for validation users whose held-out items the recommender was trained on."""


@dataclass(frozen=True, eq=False)
class MeasuredSeries:
    """A series as numbers of users.

    Attributes:
        name, title, kind, goal, start, parameter, tradeoffs: of the :class:`ListSeries`.
        ndcg: nDCG@10 of each test user, float64 ``[seeds, tradeoffs, users]``.
        value: measure of the goal, ``nan`` where it is undefined, float64 ``[seeds, tradeoffs, users]``.
        popularity: mean popularity percentile of the lists, float64 ``[tradeoffs]``.
        coverage: share of the catalogue that is listed, float64 ``[tradeoffs]``.
        validation_ndcg: mean over validation users and seeds, float64 ``[tradeoffs]``; ``nan`` without their lists.
        validation_value: the same of the goal.
    """

    name: str
    title: str
    kind: str
    goal: str
    start: str
    parameter: str
    tradeoffs: tuple[float, ...]
    ndcg: np.ndarray
    value: np.ndarray
    popularity: np.ndarray
    coverage: np.ndarray
    validation_ndcg: np.ndarray
    validation_value: np.ndarray


def measure_series(
    seeds: Sequence[ListSeries], goal: GoalOnData, popularity: GoalOnData, training_set: TrainingSet, k: int = CUT
) -> MeasuredSeries:
    """Ask a series for its lists for test and validation users, and measure them.

    Args:
        seeds: the same series, once for each seed that it was fitted with.
        goal: that it trades nDCG for, on ``training_set``.
        popularity: the goal ``popularity``, on ``training_set``.
        training_set: whose test and validation users lists are asked for.
        k: length of the lists.

    Raises:
        ValueError: trade-offs do not ascend from 0, or differ between the seeds.
        GoalUnavailable: the goal is undefined for the lists of all test users at a tradeoff.
    """
    first = seeds[0]
    tradeoffs = tuple(first.tradeoffs)
    if not tradeoffs or tradeoffs[0] != 0 or (np.diff(tradeoffs) < 0).any():
        raise ValueError(f"{first.name}: trade-offs must ascend from 0, not {list(tradeoffs)}")
    if any(tuple(one.tradeoffs) != tradeoffs for one in seeds):
        raise ValueError(f"{first.name}: the trade-offs differ between the seeds")
    splits: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    shape = (len(seeds), len(tradeoffs))
    percentiles, covered = np.full(shape, np.nan), np.full(shape, np.nan)
    for split in ("test", "validation"):
        histories, targets = training_set.histories(split), training_set.targets_of(split)
        found = np.full((2, *shape, len(histories)), np.nan)
        splits[split] = (found[0], found[1])
        for (seed, one), place in product(enumerate(seeds), range(len(tradeoffs) if len(histories) else 0)):
            lists = one.lists(place, split, k)
            if lists is not None:
                found[0, seed, place] = (
                    ndcg_of_lists(lists, training_set) if split == "test" else measures.ndcg(lists, targets)
                )
                found[1, seed, place] = goal.measure(lists, histories)
                if split == "test":
                    percentiles[seed, place] = _mean(popularity.measure(lists, histories))
                    covered[seed, place] = measures.coverage(measures.exposures(lists, training_set.items)) or 0.0
    ndcg, value = splits["test"]
    if np.isnan(value).all(axis=2).any():
        raise GoalUnavailable(
            f"{first.title}: {goal.goal.title.lower()} is undefined for all lists at a tradeoff, since too few items "
            "have what it needs"
        )
    validation = [np.array([_mean(one[:, place]) for place in range(len(tradeoffs))]) for one in splits["validation"]]
    return MeasuredSeries(
        name=first.name,
        title=first.title,
        kind=first.kind,
        goal=goal.goal.name,
        start=first.start,
        parameter=first.parameter,
        tradeoffs=tradeoffs,
        ndcg=ndcg,
        value=value,
        popularity=percentiles.mean(axis=0),
        coverage=covered.mean(axis=0),
        validation_ndcg=validation[0],
        validation_value=validation[1],
    )


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are defined; nan without any."""
    is_defined = ~np.isnan(values)
    return float(values[is_defined].mean()) if is_defined.any() else float("nan")
