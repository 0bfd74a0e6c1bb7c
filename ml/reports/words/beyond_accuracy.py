"""Tables and charts of accuracy against goals beyond it, for the page, the model card and the UI."""

from __future__ import annotations

from collections.abc import Sequence

from ml.beyond_accuracy.goals import GOALS
from ml.evaluation.intervals import Interval
from ml.evaluation.trade_offs.compare import MOST_LOST, RESAMPLES
from ml.evaluation.trade_offs.content import Point, SeriesResult, TradeOffs
from ml.number_format import LEVEL, count, interval, listed, metric_value, of, p_figure, percent, signed_metric
from ml.tables import Chart, Line, Table

_SIGN = "−"


def introduction(found: TradeOffs) -> str:
    """What the section compares, in a few sentences."""
    kinds = listed(list(dict.fromkeys(one.kind for one in found.series)))
    return (
        f"Each series ({kinds}) trades nDCG@10 for a goal: its first point is the start, without the goal, and the "
        f"goal counts for more from point to point. Lists have ten items, for the same {of(found.users, 'test user')}. "
        f"Intervals are at 95 %, from at least {count(RESAMPLES)} resamples of the users."
    )


def goals(found: TradeOffs) -> tuple[str, ...]:
    """Names of the goals that there is a series of, in order."""
    return tuple(reference.goal for reference in found.references)


def goal_label(goal: str) -> str:
    """Title of a goal, with its direction where lower is better."""
    lower = goal in GOALS and not GOALS[goal].higher_is_better
    return f"{_title(goal)} (lower is better)" if lower else _title(goal)


def chart(found: TradeOffs, goal: str) -> Chart:
    """nDCG@10 against a goal, a line a series, with the intervals of nDCG@10."""
    lines = tuple(
        Line(
            one.title,
            tuple(point.value.mean for point in one.points),
            tuple(point.ndcg.mean for point in one.points),
            tuple(point.ndcg.low for point in one.points),
            tuple(point.ndcg.high for point in one.points),
        )
        for one in _of_goal(found, goal)
    )
    return Chart(f"nDCG@10 against {_lower(_title(goal))}", goal_label(goal), "nDCG@10", lines)


def points(found: TradeOffs, goal: str) -> Table:
    """All points of the series of a goal."""
    popularity = GOALS["popularity"].title
    with_popularity = [popularity] if _title(goal) != popularity else []
    rows = [
        (
            one.title,
            _setting(one, place, point),
            *_with_interval(point.ndcg),
            *_with_interval(point.value),
            *(metric_value(point.popularity) for _ in with_popularity),
            percent(point.coverage),
            "yes" if point.on_front else "",
        )
        for one in _of_goal(found, goal)
        for place, point in enumerate(one.points)
    ]
    header = ("Series", "Trade-off", "nDCG@10", "Interval", _title(goal), "Interval")
    further = (*with_popularity, "Coverage", "On the front")
    note = (
        "On the front: no other point of any series has both a higher nDCG@10 and a better value, or is equal in one "
        "and better in the other. Chosen: see what the goal costs."
    )
    return Table(
        goal_label(goal), (*header, *further), tuple(rows), note, right=tuple(range(2, 7 + len(with_popularity)))
    )


def hypervolumes(found: TradeOffs) -> Table:
    """The area that each series dominates."""
    rows = [
        (
            _title(one.goal),
            one.title,
            one.kind,
            one.start,
            count(one.seeds),
            _area(one.hypervolume.mean),
            f"{_area(one.hypervolume.low)} to {_area(one.hypervolume.high)}",
        )
        for one in found.series
    ]
    references = "; ".join(
        f"{metric_value(reference.value)} for {_lower(_title(reference.goal))}" for reference in found.references
    )
    note = (
        "The area between the points of a series and a reference: nDCG@10 of 0, and the worst value of the goal at the "
        f"start of any series ({references}). It is larger if the goal is reached at a smaller loss of nDCG@10. With "
        "several seeds it is the mean over them, and the interval covers seeds too."
    )
    header = ("Goal", "Series", "Kind", "Start", "Seeds", "Hypervolume", "Interval")
    return Table("Hypervolumes", header, tuple(rows), note, right=(4, 5, 6))


def differences(found: TradeOffs) -> Table | None:
    """Hypervolumes of pairs of series; ``None`` without a goal that has two."""
    if not found.differences:
        return None
    titles = {(one.goal, one.name): one.title for one in found.series}
    rows = [
        (
            _title(one.goal),
            titles[one.goal, one.series],
            titles[one.goal, one.other],
            _area(one.difference.mean),
            f"{_area(one.difference.low)} to {_area(one.difference.high)}",
            p_figure(one.p_value),
            p_figure(one.adjusted),
            "larger" if one.adjusted < LEVEL else "not significantly different",
        )
        for one in found.differences
    ]
    note = "Paired: both series on the same resampled users. Corrected by Holm's method over the pairs of a goal."
    header = ("Goal", "Series", "Compared with", "Difference", "Interval", "p", "p corrected", "Hypervolume is")
    return Table("Differences of hypervolumes", header, tuple(rows), note, right=(3, 4, 5, 6))


def costs(found: TradeOffs) -> Table | None:
    """What each series gains of its goal at a small loss of nDCG@10; ``None`` where no tradeoff was chosen."""
    rows = []
    for one in found.series:
        if (bought := one.bought) is not None:
            relative = bought.relative_gain
            rows.append(
                (
                    _title(one.goal),
                    one.title,
                    _setting(one, bought.place, None),
                    _signed_percent(bought.validation_loss),
                    _signed_percent(bought.loss.mean),
                    f"{_signed_percent(bought.loss.low)} to {_signed_percent(bought.loss.high)}",
                    metric_value(one.points[0].value.mean),
                    signed_metric(bought.gain.mean),
                    interval(bought.gain.low, bought.gain.high, signed=True),
                    "" if relative is None else _signed_percent(relative.mean, plus=True),
                )
            )
    if not rows:
        return None
    note = (
        f"The trade-off of each series is chosen on {of(found.validation_users, 'validation user')}: the best value of "
        f"the goal at a loss of at most {percent(MOST_LOST)} of the nDCG@10 of the start. Loss and gain are then "
        "measured on the test users, where the loss may be larger. A loss below 0 is a gain."
    )
    header = (
        *("Goal", "Series", "Trade-off", "Loss, validation", "Loss of nDCG@10", "Interval", "Goal at the start"),
        *("Gain", "Interval", "Relative gain"),
    )
    title = f"What is gained at a loss of at most {percent(MOST_LOST)} of nDCG@10"
    return Table(title, header, tuple(rows), note, right=(3, 4, 5, 6, 7, 8, 9))


def examples_note(found: TradeOffs) -> str:
    """Which lists are shown as examples."""
    one = found.examples
    if one is None:
        return ""
    return (
        f"{one.series}, {_lower(_title(one.goal))}: lists of the start ({one.start}) and at {one.parameter} "
        f"{one.tradeoff:g}, for test users at even steps; they are not selected by their lists."
    )


def tables(found: TradeOffs) -> tuple[Table, ...]:
    """All tables but those of the points, in reading order."""
    if not found.series:
        return ()
    return tuple(filter(None, (costs(found), hypervolumes(found), differences(found))))


def _title(goal: str) -> str:
    """Title of a goal; its name where a report of another version is read."""
    return GOALS[goal].title if goal in GOALS else goal


def _of_goal(found: TradeOffs, goal: str) -> Sequence[SeriesResult]:
    return [one for one in found.series if one.goal == goal]


def _setting(one: SeriesResult, place: int, point: Point | None) -> str:
    text = "start" if place == 0 else f"{one.points[place].tradeoff:g}"
    if place > 0 and one.parameter != "tradeoff":
        text = f"{one.parameter} {text}"
    return f"{text}, chosen" if point is not None and point.chosen else text


def _with_interval(estimate: Interval) -> tuple[str, str]:
    return metric_value(estimate.mean), interval(estimate.low, estimate.high)


def _area(value: float) -> str:
    return f"{value:.5f}".replace("-", _SIGN)


def _signed_percent(share: float, plus: bool = False) -> str:
    if share < 0:
        return f"{_SIGN}{percent(-share)}"
    return f"+{percent(share)}" if plus and share > 0 else percent(share)


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]
