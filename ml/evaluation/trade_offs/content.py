"""What a comparison of series says, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from ml.evaluation.intervals import Interval


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
