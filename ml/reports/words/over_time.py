"""Sentences, tables and charts of the section "Over time", for the page, the model card and the UI."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ml.number_format import NO_BREAK, interval, metric_value
from ml.release.over_time import Figure, Standing, changed_choices, protocols
from ml.release.progress import Result
from ml.reports.words.release import VERDICTS
from ml.tables import Chart, Line, Table

# results that are shown
SHOWN = 50
# of a commit, the digits that are shown
_COMMIT = re.compile(r"(commit [0-9a-f]{7})[0-9a-f]+")
WITH_INTERVAL = f"nDCG@10 (95{NO_BREAK}%)"
INTRODUCTION = (
    "One result for each leaderboard of this dataset, with the release that was in charge after it. Each figure was "
    "measured on the test users of its own data, so a difference between two results is no measure of progress: the "
    "data differ. The decision of a run compares candidate and champion on the same users."
)
OTHER_PROTOCOL = (
    "The protocol has changed as well; figures before and after such a change measure different things, and the chart "
    "does not connect them."
)
AHEAD = (
    "Each new dump is a test of the release that was in charge before it: of each user who was known, the first "
    "interaction that is new is ranked. Nothing of it was there when the release was fitted and chosen."
)


def introduction(entries: Sequence[Standing]) -> str:
    """What the section shows, and what may not be compared."""
    return f"{INTRODUCTION} {OTHER_PROTOCOL}" if len(set(protocols(entries))) > 1 else INTRODUCTION


def table(entries: Sequence[Standing]) -> Table:
    """The results, the latest first.

    Args:
        entries: the oldest first.
    """
    rows = tuple(
        (
            str(number),
            entry.best.title,
            _figure(entry.best),
            "" if entry.in_charge is None else entry.in_charge.title,
            _figure(entry.in_charge),
            VERDICTS.get(entry.verdict, entry.verdict),
            _changed(entries[number - 2] if number > 1 else None, entry),
        )
        for number, entry in _latest(entries)
    )
    columns = ("Result", "Best", WITH_INTERVAL, "In charge", f"In charge: {WITH_INTERVAL}", "Decision", "Changed")
    return Table("Results over time", columns, rows, right=(2, 4))


def origins_table(entries: Sequence[Standing], made: Sequence[tuple[str, str]] = ()) -> Table:
    """The data and the code of each result, the latest first.

    Args:
        entries: the oldest first.
        made: when each was made, and in which Dagster run; shown where it is given.
    """
    with_run = bool(entries) and len(made) == len(entries)
    rows = []
    for number, entry in _latest(entries):
        when, run = made[number - 1] if with_run else ("", "")
        rows.append(
            (
                str(number),
                entry.interactions,
                entry.users,
                entry.training_set,
                _COMMIT.sub(r"\1", entry.code),
                *((when[:16].replace("T", " "), run[:8]) if with_run else ()),
            )
        )
    columns = (
        *("Result", "Interactions", "Test users", "Training set", "Code"),
        *(("Made (UTC)", "Run") if with_run else ()),
    )
    return Table("Data and code of the results", columns, tuple(rows), right=(1, 2))


def _latest(entries: Sequence[Standing]) -> list[tuple[int, Standing]]:
    """The results that are shown with their numbers, the latest first."""
    return list(enumerate(entries, start=1))[-SHOWN:][::-1]


def _figure(figure: Figure | None) -> str:
    if figure is None or figure.ndcg is None:
        return ""
    # where there is little room, the line breaks before the interval
    bounds = interval(figure.low, figure.high).replace(" ", NO_BREAK)
    return f"{metric_value(figure.ndcg)} ({bounds})" if bounds else metric_value(figure.ndcg)


def _changed(before: Standing | None, entry: Standing) -> str:
    """What makes a result differ from the one before it, beside the recommenders."""
    if before is None:
        return ""
    parts = [
        f"{label}: {before.protocol.get(label, 'none')} → {entry.protocol.get(label, 'none')}"
        for label in changed_choices(before, entry)
    ]
    if before.training_set != entry.training_set:
        parts.append("data")
    if before.code != entry.code:
        parts.append("code")
    return "; ".join(parts)


def chart(entries: Sequence[Standing]) -> Chart | None:
    """nDCG@10 of the best and of what is in charge, a line for each protocol; ``None`` for fewer than two results."""
    if len(entries) < 2:
        return None
    numbers = protocols(entries)
    several = len(set(numbers)) > 1
    first = max(0, len(entries) - SHOWN)
    kinds: tuple[tuple[str, Callable[[Standing], Figure | None]], ...] = (
        ("best of the leaderboard", lambda entry: entry.best),
        ("in charge", lambda entry: entry.in_charge),
    )
    lines = []
    for title, of in kinds:
        for number in dict.fromkeys(numbers[first:]):
            points = [
                (float(place), figure)
                for place, (entry, own) in enumerate(zip(entries, numbers, strict=True), start=1)
                if place > first and own == number and (figure := of(entry)) is not None and figure.ndcg is not None
            ]
            if points:
                lines.append(_line(f"{title}, protocol {number}" if several else title, points))
    return Chart("nDCG@10 of each result", "result", "nDCG@10", tuple(lines)) if lines else None


def _line(title: str, points: Sequence[tuple[float, Figure]]) -> Line:
    values = [(place, one.ndcg or 0.0, one.low, one.high) for place, one in points]
    bounded = all(low is not None and high is not None for *_, low, high in values)
    return Line(
        title,
        tuple(place for place, *_ in values),
        tuple(value for _, value, *_ in values),
        tuple(low or 0.0 for *_, low, _ in values) if bounded else (),
        tuple(high or 0.0 for *_, high in values) if bounded else (),
    )


def progress_chart(series: Sequence[Result]) -> Chart | None:
    """nDCG@10 of releases on what came after them; ``None`` where nothing was measured."""
    measured = [(number, one) for number, one in enumerate(series, start=1) if one.ndcg is not None][-SHOWN:]
    if not measured:
        return None
    points = [(float(number), Figure("", one.ndcg, one.ndcg_low, one.ndcg_high)) for number, one in measured]
    release = _line("release", points)
    popular = Line("most popular", release.x, tuple(one.popular_ndcg or 0.0 for _, one in measured))
    return Chart("nDCG@10 of releases on what came after them", "dump", "nDCG@10", (release, popular))


def progress_table(series: Sequence[Result]) -> Table:
    """What releases were worth for what came after them, the latest first."""
    rows = [
        (
            str(number),
            one.release[:12],
            one.title,
            one.interactions,
            one.users,
            _figure(Figure(one.title, one.ndcg, one.ndcg_low, one.ndcg_high)),
            "" if one.popular_ndcg is None else metric_value(one.popular_ndcg),
            interval(one.difference_low, one.difference_high, signed=True).replace(" ", NO_BREAK),
        )
        for number, one in reversed(list(enumerate(series, start=1))[-SHOWN:])
    ]
    columns = (
        *("Dump", "Release", "Recommender", "New interactions", "Users ranked"),
        *(WITH_INTERVAL, "Most popular", "Difference, 95 %"),
    )
    return Table("Releases on what came after them", columns, tuple(rows), right=(3, 4, 5, 6, 7))
