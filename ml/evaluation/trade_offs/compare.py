"""Series of each goal compared: points with intervals, fronts, hypervolumes, and what is gained at a small loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from ml.beyond_accuracy.fronts import hypervolumes, pareto_front
from ml.beyond_accuracy.goals import GOALS, GoalOnData, GoalUnavailable, goal_on
from ml.data.training_set import TrainingSet
from ml.evaluation.significance import holm
from ml.evaluation.trade_offs.content import (
    Bought,
    ExampleLists,
    HypervolumeDifference,
    ListsOfUser,
    Point,
    Reference,
    SeriesResult,
    TradeOffs,
)
from ml.evaluation.trade_offs.resamples import Means, Resampled, drawn_users, percentile_interval
from ml.evaluation.trade_offs.series import CUT, ListSeries, MeasuredSeries, measure_series
from ml.recommender import NO_ITEM

# test users whose lists are shown
EXAMPLE_USERS = 2
# of the nDCG at the start of a series, how much a chosen tradeoff may lose on the validation users
MOST_LOST = 0.05
RESAMPLES = 2_000
# no p-value of the bootstrap is below 2 / (resamples + 1), so the more pairs there are to correct for, the more
# resamples it takes for any of them to differ significantly
_RESAMPLES_OF_A_PAIR = 60


def compare_series(
    series: Iterable[Sequence[ListSeries]],
    training_set: TrainingSet,
    left_out: Iterable[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> TradeOffs:
    """Measure series and compare those of each goal: :func:`measure_series` and :func:`build_trade_offs`.

    Series of a goal that the items cannot have are left out with a sentence that says why.

    Args:
        series: each once for each seed that it was fitted with.
        training_set: with its item text, where it has one, and best with the vectors of it.
        left_out: sentences on series that could not be made.
        seed: of the resampling.
        resamples: how many; more for a goal of which there are many series, see :func:`build_trade_offs`.

    Raises:
        ValueError: a series is not one, or two have the same name and goal.
    """
    measured, made, sentences = [], {}, list(left_out)
    goals: dict[str, GoalOnData] = {}
    for seeds in series:
        try:
            for name in (seeds[0].goal, "popularity"):
                goals[name] = goals.get(name) or goal_on(name, training_set)
            measured.append(measure_series(seeds, goals[seeds[0].goal], goals["popularity"], training_set))
            made[seeds[0].name, seeds[0].goal] = seeds[0]
        except GoalUnavailable as error:
            sentences.append(str(error))
    users, validation_users = len(training_set.test_users), len(training_set.validation_users)
    found = build_trade_offs(measured, users, validation_users, sentences, seed, resamples)
    if not found.series:
        return found
    of_first_goal = [one for one in found.series if one.goal == found.series[0].goal]
    best = max(of_first_goal, key=lambda one: one.hypervolume.mean)
    return replace(found, examples=_examples(best, made[best.name, best.goal], training_set))


def _examples(result: SeriesResult, series: ListSeries, training_set: TrainingSet) -> ExampleLists:
    """At the point that was chosen on the validation users; at the last one where that is the start, or none was."""
    place = result.bought.place if result.bought is not None else 0
    place = place or len(result.points) - 1
    cases = np.unique(np.linspace(0, len(training_set.test_users) - 1, EXAMPLE_USERS).round().astype(np.int64))
    before, after = (series.lists(one, "test", CUT) for one in (0, place))
    assert before is not None  # lists of test users are always there
    assert after is not None
    users = tuple(
        ListsOfUser(int(training_set.test_users[case]), *(_items(lists[case]) for lists in (before, after)))
        for case in cases
    )
    tradeoff = result.points[place].tradeoff
    return ExampleLists(result.title, result.goal, result.start, result.parameter, tradeoff, users)


def _items(items: np.ndarray) -> tuple[int, ...]:
    return tuple(int(item) for item in items if item != NO_ITEM)


def build_trade_offs(
    measured: Iterable[MeasuredSeries],
    users: int,
    validation_users: int,
    left_out: Iterable[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> TradeOffs:
    """Fronts, hypervolumes and costs of the series of each goal, with 95 % intervals.

    All intervals are of the percentile bootstrap over users, the same resampled users for all series. Of a series with
    several seeds the hypervolume is the mean over the seeds, which are resampled too; series with equally many seeds
    are paired by seed. The reference of a hypervolume is nDCG 0 and the worst measure of a start of any series of the
    goal, and stays the same in all resamples.

    Args:
        measured: series, of any goals, on the same test users.
        users: test users.
        validation_users: as many.
        left_out: sentences on series that are not there.
        seed: of the resampling.
        resamples: how many, and at least 60 for each pair of series of a goal: with fewer no pair could differ
            significantly after the correction.

    Source: Zitzler and Thiele, IEEE TEC 3 (1999), for the hypervolume; Efron and Tibshirani (1993), chapter 13, for the
    intervals.

    Raises:
        ValueError: series are of other users, or two have the same name and goal.
    """
    series = list(measured)
    wrong = [one.name for one in series if one.ndcg.shape[2] != users]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: not of the same {users:,} test users as the other series")
    if len({(one.name, one.goal) for one in series}) < len(series):
        raise ValueError("two series have the same name and goal")
    results, references, differences = [], [], []
    for goal in GOALS:
        of_goal = [one for one in series if one.goal == goal]
        if of_goal:
            reference, found, pairs = _of_goal(goal, of_goal, seed, resamples)
            references.append(reference)
            results += found
            differences += pairs
    return TradeOffs(
        users, validation_users, tuple(results), tuple(references), tuple(differences), tuple(dict.fromkeys(left_out))
    )


def _of_goal(
    goal: str, series: list[MeasuredSeries], seed: int, resamples: int
) -> tuple[Reference, list[SeriesResult], list[HypervolumeDifference]]:
    sign = 1 if GOALS[goal].higher_is_better else -1
    means = [Means.of(one) for one in series]
    starts = [found.value[0] for found in means]
    reference = Reference(goal, 0.0, float(min(starts) if sign > 0 else max(starts)))
    corner = (reference.ndcg, sign * reference.value)
    pairs = len(series) * (len(series) - 1) // 2
    resamples = max(resamples, _RESAMPLES_OF_A_PAIR * pairs)
    resampled = [Resampled.empty(one, resamples) for one in series]
    for rows, counts in drawn_users(series[0].ndcg.shape[2], seed, resamples):
        for one, drawn in zip(series, resampled, strict=True):
            drawn.fill(rows, counts, one, sign, corner)
    flat = np.concatenate([np.stack([one.ndcg, sign * one.value], axis=1) for one in means])
    on_front = iter(pareto_front(flat).tolist())
    hypervolume = [
        float(hypervolumes(np.stack([one.by_seed[0], sign * one.by_seed[1]], axis=-1), corner).mean()) for one in means
    ]
    areas = [drawn.areas(seed) for drawn in resampled]
    results = []
    for one, mean, drawn, area, areas_drawn in zip(series, means, resampled, hypervolume, areas, strict=True):
        bought = _bought(one, mean, drawn, sign)
        points = tuple(
            Point(
                tradeoff,
                percentile_interval(float(mean.ndcg[place]), drawn.ndcg[:, place]),
                percentile_interval(float(mean.value[place]), drawn.value[:, place]),
                float(one.popularity[place]),
                float(one.coverage[place]),
                next(on_front),
                bought is not None and bought.place == place,
            )
            for place, tradeoff in enumerate(one.tradeoffs)
        )
        results.append(
            SeriesResult(
                *(one.name, one.title, one.kind, one.goal, one.start, one.parameter, len(one.ndcg), points),
                hypervolume=percentile_interval(area, areas_drawn),
                bought=bought,
            )
        )
    return reference, results, _differences(goal, [one.name for one in series], hypervolume, areas)


def _differences(
    goal: str, names: list[str], hypervolume: list[float], areas: list[np.ndarray]
) -> list[HypervolumeDifference]:
    found = []
    for one, other in combinations(range(len(names)), 2):
        if hypervolume[one] < hypervolume[other]:
            one, other = other, one
        drawn = areas[one] - areas[other]
        # the share of resamples on the other side of 0, the observed one counted among them
        beyond = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
        p_value = min(1.0, 2 * (beyond + 1) / (len(drawn) + 1))
        found.append((one, other, percentile_interval(hypervolume[one] - hypervolume[other], drawn), p_value))
    adjusted = holm([p_value for *_, p_value in found])
    return [
        HypervolumeDifference(goal, names[one], names[other], difference, p_value, float(corrected))
        for (one, other, difference, p_value), corrected in zip(found, adjusted, strict=True)
    ]


def _bought(one: MeasuredSeries, means: Means, drawn: Resampled, sign: int) -> Bought | None:
    start = one.validation_ndcg[0]
    if not start > 0 or means.ndcg[0] == 0:
        return None
    losses = 1 - one.validation_ndcg / start
    # a loss of exactly 5 % is allowed, whichever way its last bit is rounded
    allowed = np.flatnonzero((losses <= MOST_LOST + 1e-9) & ~np.isnan(one.validation_value))
    if len(allowed) == 0:
        return None
    place = int(allowed[np.argmax(sign * one.validation_value[allowed])])
    gain = float(means.value[place] - means.value[0])
    gains = drawn.value[:, place] - drawn.value[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        lost, relative = 1 - drawn.ndcg[:, place] / drawn.ndcg[:, 0], gains / drawn.value[:, 0]
    return Bought(
        place=place,
        tradeoff=one.tradeoffs[place],
        validation_loss=float(losses[place]),
        loss=percentile_interval(float(1 - means.ndcg[place] / means.ndcg[0]), lost),
        gain=percentile_interval(gain, gains),
        relative_gain=percentile_interval(gain / float(means.value[0]), relative) if means.value[0] else None,
    )
