"""Accuracy against a goal beyond it: fronts, hypervolumes, and what a goal costs.

A *series* is one way to trade nDCG for a goal: lists at several trade-offs, from a start, which is after accuracy
alone, to the goal alone. Examples are a re-ranking with tradeoffs from 0 to 1, and the policies of an alignment with
several weights of the goal. Series of the same goal are compared with one another on the same test users.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ml.beyond_accuracy import measures
from ml.beyond_accuracy.fronts import hypervolumes, pareto_front
from ml.beyond_accuracy.goals import GOALS, GoalOnData, GoalUnavailable, goal_on
from ml.data.files import atomic_file, whole
from ml.data.training_set import TrainingSet
from ml.evaluation.intervals import CONFIDENCE, Interval
from ml.evaluation.rankings import write_table
from ml.evaluation.significance import holm
from ml.recommender import NO_ITEM

FORMAT = "raw2rank-trade-offs-1"
JSON_FILE = "trade_offs.json"
POINTS_FILE = "points.parquet"
CUT = 10
# test users whose lists are shown
EXAMPLE_USERS = 2
# of the nDCG at the start of a series, how much a chosen tradeoff may lose on the validation users
MOST_LOST = 0.05
RESAMPLES = 2_000
# drawn counts of users that are held at a time
_AT_ONCE = 1 << 22
# columns of the table of points
_TEXTS = ("series", "title", "kind", "goal", "start", "parameter")
_FLAGS = ("on_front", "chosen")
_NUMBERS = (
    *("tradeoff", "ndcg@10", "ndcg@10_low", "ndcg@10_high", "value", "value_low", "value_high"),
    *("popularity_percentile@10", "coverage@10"),
)
POINTS = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in _TEXTS),
        pa.field("seeds", pa.int32(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in _NUMBERS),
        *(pa.field(name, pa.bool_(), nullable=False) for name in _FLAGS),
    ]
)


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


@dataclass(frozen=True)
class Point:
    """A series at one tradeoff, on the test users.

    Attributes:
        tradeoff: 0 for the start; for a ``tradeoff`` 1 is the goal alone, a ``weight`` has no bound.
        ndcg: mean nDCG@10.
        value: mean measure of the goal, over users for whom it is defined.
        popularity: mean popularity percentile of the lists.
        coverage: share of the catalogue that is in a list.
        on_front: whether no point of any series of the same goal dominates it.
        chosen: whether it is the point of :class:`Bought`.
    """

    tradeoff: float
    ndcg: Interval
    value: Interval
    popularity: float
    coverage: float
    on_front: bool
    chosen: bool


@dataclass(frozen=True)
class Bought:
    """What a series gains of its goal at the tradeoff that was chosen on the validation users: the best mean of the
    goal among those that lose at most 5 % of the nDCG@10 of the start.

    Attributes:
        place: of the chosen point among those of the series.
        tradeoff: of the chosen point.
        validation_loss: share of the nDCG@10 of the start that it loses on the validation users.
        loss: the same on the test users.
        gain: difference of the goal to the start, on the test users; below 0 where the measure falls.
        relative_gain: ``gain`` divided by the measure at the start; ``None`` where that is 0.
    """

    place: int
    tradeoff: float
    validation_loss: float
    loss: Interval
    gain: Interval
    relative_gain: Interval | None


@dataclass(frozen=True)
class SeriesResult:
    """One series, measured.

    Attributes:
        name, title, kind, goal, start, parameter: of the :class:`ListSeries`.
        seeds: it was fitted with.
        points: in the order of their tradeoffs.
        hypervolume: mean over the seeds of the area that the points dominate above the reference of the goal.
        bought: ``None`` without lists for validation users, or with a start of nDCG 0.
    """

    name: str
    title: str
    kind: str
    goal: str
    start: str
    parameter: str
    seeds: int
    points: tuple[Point, ...]
    hypervolume: Interval
    bought: Bought | None


@dataclass(frozen=True)
class Reference:
    """The worst point that counts for the hypervolumes of a goal: nDCG 0, and the worst measure of a start."""

    goal: str
    ndcg: float
    value: float


@dataclass(frozen=True)
class HypervolumeDifference:
    """Hypervolumes of two series of one goal on the same resampled users.

    Attributes:
        goal: of both.
        series: name of the one with the larger hypervolume.
        other: name of the other.
        difference: of the first to the second.
        p_value: two-sided, of the bootstrap.
        adjusted: after Holm's correction over the pairs of the goal.
    """

    goal: str
    series: str
    other: str
    difference: Interval
    p_value: float
    adjusted: float


@dataclass(frozen=True)
class ListsOfUser:
    """Lists of one test user: item indices, best first, at the start of a series and at another point of it."""

    user_index: int
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class ExampleLists:
    """Lists of a few test users at two points of one series.

    Attributes:
        series: its title.
        goal: of the series.
        start: of the series.
        parameter: of the series.
        tradeoff: of the second point.
        users: test users at even steps.
    """

    series: str
    goal: str
    start: str
    parameter: str
    tradeoff: float
    users: tuple[ListsOfUser, ...]


@dataclass(frozen=True)
class TradeOffs:
    """All series of a dataset.

    Attributes:
        users: test users.
        validation_users: that trade-offs are chosen on.
        series: by goal, in the order that they were given in.
        references: one for each goal.
        differences: of all pairs of series of a goal.
        left_out: a sentence for each series that could not be measured.
        examples: of the first goal's series with the largest hypervolume; ``None`` without a series.
    """

    users: int
    validation_users: int
    series: tuple[SeriesResult, ...] = ()
    references: tuple[Reference, ...] = ()
    differences: tuple[HypervolumeDifference, ...] = ()
    left_out: tuple[str, ...] = ()
    examples: ExampleLists | None = None


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
        resamples: how many.

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
                found[0, seed, place] = measures.ndcg(lists, targets)
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
        resamples: how many.

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


def points_table(found: TradeOffs) -> pa.Table:
    """One row a point, in the order of the series and their tradeoffs."""
    rows = [
        {
            "series": one.name,
            "title": one.title,
            "kind": one.kind,
            "goal": one.goal,
            "start": one.start,
            "parameter": one.parameter,
            "seeds": one.seeds,
            "tradeoff": point.tradeoff,
            "ndcg@10": point.ndcg.mean,
            "ndcg@10_low": point.ndcg.low,
            "ndcg@10_high": point.ndcg.high,
            "value": point.value.mean,
            "value_low": point.value.low,
            "value_high": point.value.high,
            "popularity_percentile@10": point.popularity,
            "coverage@10": point.coverage,
            "on_front": point.on_front,
            "chosen": point.chosen,
        }
        for one in found.series
        for point in one.points
    ]
    return pa.Table.from_pylist(rows, POINTS)


def save_trade_offs(found: TradeOffs, folder: Path) -> None:
    """Write ``points.parquet`` and ``trade_offs.json`` into an existing folder."""
    write_table(points_table(found), folder / POINTS_FILE)
    with atomic_file(folder / JSON_FILE) as temporary:
        text = json.dumps({"format": FORMAT, **asdict(found)}, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def load_trade_offs(folder: Path) -> TradeOffs:
    """Read what :func:`save_trade_offs` wrote.

    Raises:
        DamagedFile: not all of it is there, or not as it was written.
    """
    with whole(folder):
        described = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
        if described.pop("format") != FORMAT:
            raise ValueError(f"{JSON_FILE} is not of the format {FORMAT}")
        return TradeOffs(
            users=described["users"],
            validation_users=described["validation_users"],
            series=tuple(_series_result(one) for one in described["series"]),
            references=tuple(Reference(**one) for one in described["references"]),
            differences=tuple(
                HypervolumeDifference(**one | {"difference": Interval(**one["difference"])})
                for one in described["differences"]
            ),
            left_out=tuple(described["left_out"]),
            examples=_example_lists(described["examples"]),
        )


def _example_lists(one: dict[str, Any] | None) -> ExampleLists | None:
    if one is None:
        return None
    users = (ListsOfUser(user["user_index"], tuple(user["before"]), tuple(user["after"])) for user in one["users"])
    return ExampleLists(**one | {"users": tuple(users)})


def _series_result(one: dict[str, Any]) -> SeriesResult:
    points = tuple(
        Point(**point | {"ndcg": Interval(**point["ndcg"]), "value": Interval(**point["value"])})
        for point in one["points"]
    )
    bought = one["bought"]
    if bought is not None:
        intervals = {name: bought[name] for name in ("loss", "gain", "relative_gain")}
        bought = Bought(**bought | {name: value and Interval(**value) for name, value in intervals.items()})
    return SeriesResult(**one | {"points": points, "hypervolume": Interval(**one["hypervolume"]), "bought": bought})


def _of_goal(
    goal: str, series: list[MeasuredSeries], seed: int, resamples: int
) -> tuple[Reference, list[SeriesResult], list[HypervolumeDifference]]:
    sign = 1 if GOALS[goal].higher_is_better else -1
    means = [_Means.of(one) for one in series]
    starts = [found.value[0] for found in means]
    reference = Reference(goal, 0.0, float(min(starts) if sign > 0 else max(starts)))
    corner = (reference.ndcg, sign * reference.value)
    resampled = [_Resampled.empty(one, resamples) for one in series]
    for rows, counts in _drawn_users(series[0].ndcg.shape[2], seed, resamples):
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
                _interval(float(mean.ndcg[place]), drawn.ndcg[:, place]),
                _interval(float(mean.value[place]), drawn.value[:, place]),
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
                hypervolume=_interval(area, areas_drawn),
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
        found.append((one, other, _interval(hypervolume[one] - hypervolume[other], drawn), p_value))
    adjusted = holm([p_value for *_, p_value in found])
    return [
        HypervolumeDifference(goal, names[one], names[other], difference, p_value, float(corrected))
        for (one, other, difference, p_value), corrected in zip(found, adjusted, strict=True)
    ]


def _bought(one: MeasuredSeries, means: _Means, drawn: _Resampled, sign: int) -> Bought | None:
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
        loss=_interval(float(1 - means.ndcg[place] / means.ndcg[0]), lost),
        gain=_interval(gain, gains),
        relative_gain=_interval(gain / float(means.value[0]), relative) if means.value[0] else None,
    )


@dataclass(frozen=True, eq=False)
class _Means:
    """Means over the test users: over the seeds too, float64 ``[tradeoffs]``, and for each seed, ``[seeds,
    tradeoffs]``."""

    ndcg: np.ndarray
    value: np.ndarray
    by_seed: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, one: MeasuredSeries) -> _Means:
        value = np.nanmean(one.value, axis=2)
        return cls(one.ndcg.mean(axis=(0, 2)), value.mean(axis=0), (one.ndcg.mean(axis=2), value))


@dataclass(eq=False)
class _Resampled:
    """A series on resampled users: means over the seeds, float64 ``[resamples, tradeoffs]``, and hypervolumes of each
    seed, ``[resamples, seeds]``."""

    ndcg: np.ndarray
    value: np.ndarray
    of_seeds: np.ndarray

    @classmethod
    def empty(cls, one: MeasuredSeries, resamples: int) -> _Resampled:
        seeds, tradeoffs, _ = one.ndcg.shape
        return cls(*(np.empty((resamples, size)) for size in (tradeoffs, tradeoffs, seeds)))

    def fill(
        self, rows: slice, counts: np.ndarray, one: MeasuredSeries, sign: int, corner: tuple[float, float]
    ) -> None:
        """The resamples ``rows``, in which each user was drawn ``counts`` times, float64 ``[resamples, users]``."""
        seeds, tradeoffs, users = one.ndcg.shape
        shape = (len(counts), seeds, tradeoffs)
        ndcg = (counts @ one.ndcg.reshape(-1, users).T / users).reshape(shape)
        is_defined = ~np.isnan(one.value)
        sums = counts @ np.where(is_defined, one.value, 0).reshape(-1, users).T
        drawn = counts @ is_defined.reshape(-1, users).T.astype(np.float64)
        # where a resample has no user that the goal is defined for: the mean of all users, which moves no bound
        overall = np.nanmean(one.value, axis=2).reshape(-1)
        value = np.where(drawn > 0, sums / np.maximum(drawn, 1), overall).reshape(shape)
        self.ndcg[rows], self.value[rows] = ndcg.mean(axis=1), value.mean(axis=1)
        points = np.stack([ndcg, sign * value], axis=-1).reshape(-1, tradeoffs, 2)
        self.of_seeds[rows] = hypervolumes(points, corner).reshape(len(counts), seeds)

    def areas(self, seed: int) -> np.ndarray:
        """Hypervolumes, mean over resampled seeds, float64 ``[resamples]``; the same draws for as many seeds."""
        resamples, seeds = self.of_seeds.shape
        drawn = np.random.default_rng([seed, seeds]).integers(0, seeds, (resamples, seeds))
        return np.take_along_axis(self.of_seeds, drawn, axis=1).mean(axis=1)


def _drawn_users(users: int, seed: int, resamples: int) -> Iterator[tuple[slice, np.ndarray]]:
    """How often each user is drawn, float64 ``[some resamples, users]``, with the places of these resamples."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // max(1, users))
    for start in range(0, resamples, at_once):
        stop = min(start + at_once, resamples)
        counts = np.empty((stop - start, users))
        for row in counts:
            row[:] = np.bincount(generator.integers(0, users, users), minlength=users)
        yield slice(start, stop), counts


def _interval(mean: float, drawn: np.ndarray) -> Interval:
    drawn = drawn[np.isfinite(drawn)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (mean, mean)
    return Interval(mean, float(low), float(high))


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are defined; nan without any."""
    is_defined = ~np.isnan(values)
    return float(values[is_defined].mean()) if is_defined.any() else float("nan")
