"""Sentences, tables and charts of the section "Folds over time", for the page, the model card and the UI."""

from __future__ import annotations

import math

from ml.data.folds import day
from ml.evaluation.folds.content import FoldResults, OverFolds
from ml.number_format import (
    LEVEL,
    NO_BREAK,
    count,
    interval,
    listed,
    metric_value,
    of,
    p_figure,
    percent,
    signed_metric,
)
from ml.tables import Cell, Chart, Line, Table

# recommenders that are drawn; more lines are hard to distinguish
DRAWN = 5
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def introduction(found: FoldResults) -> str:
    """What the section shows, and what the other sections are of."""
    return (
        f"Everything was fitted and measured at {_number(len(found.folds))} dates. Each fold is a global-temporal "
        "split: it trains on all interactions before its validation window, and ranks the first interaction of each "
        "known user in its test window. All other sections, and the release, are of the last fold."
    )


def summary(found: FoldResults) -> tuple[str, ...]:
    """Who wins each fold and over all of them, a sentence each."""
    folds, leader = len(found.folds), found.rows[0]
    won = leader.places.count(1)
    sentences = [
        f"{leader.title} has the highest mean nDCG@10 over the folds ({metric_value(leader.mean)}), and the highest in "
        f"{_number(won)} of {_number(folds)}."
    ]
    winners = {row.recommender: row.title for row in found.winners}
    if len(winners) == 1:
        sentences.append("The winner is the same in every fold.")
    else:
        changes = found.changes_of_winner
        sentences.append(
            f"{_number(len(winners)).capitalize()} recommenders win a fold: {listed(list(winners.values()))}. The "
            f"winner changes from one fold to the next in {_number(changes)} of {_number(folds - 1)} "
            f"{'case' if folds == 2 else 'cases'}."
        )
    others = len(found.rows) - 1
    equal = [row.title for row in found.rows[1:] if finding(row) == ""]
    if equal:
        sentences.append(
            f"Over all folds, {_number(len(equal))} of {of(others, 'other')} {'is' if len(equal) == 1 else 'are'} not "
            f"significantly different from {leader.title}."
        )
    elif others:
        sentences.append(f"Over all folds, every other recommender is significantly worse than {leader.title}.")
    return tuple(sentences)


def method(found: FoldResults) -> str:
    """How the comparison was made, and what it does not cover."""
    return (
        f"Differences to {found.rows[0].title} are of nDCG@10, paired by user within each fold; the folds count the "
        f"same. {of(found.users, 'user was', 'users were')} tested, {count(found.users_in_several)} of them in more "
        "than one fold, so the tests take a user with everything measured of them as one unit. P-values are corrected "
        "by Holm's method for all rows, and intervals agree with them. The leader was chosen on the same users, which "
        "favours it. The tests speak of other users at these dates; the deviation between the folds shows how results "
        "vary with the date. Each recommender was fitted with one seed."
    )


def dates(found: FoldResults) -> Table:
    """When each fold validates and tests, and how much it holds."""
    rows = []
    for one in found.folds:
        fold = one.fold
        rows.append(
            (
                count(fold.number),
                day(fold.validation_from),
                day(fold.test_from),
                "the end" if fold.until is None else day(fold.until),
                count(one.trained),
                count(one.validated),
                count(one.tested),
                count(one.new_items),
                percent(one.new_targets / one.tested) if one.tested else "",
            )
        )
    columns = (
        *("Fold", "Validation from", "Test from", "Test until", "Trained on", "Validation users", "Test users"),
        *("Items not seen yet", "Targets among these"),
    )
    note = (
        "Times are UTC. Items without an interaction before the test are in the catalogue and can be recommended, in "
        "every fold as in a global-temporal split."
    )
    return Table("Dates and sizes of the folds", columns, tuple(rows), note, right=(4, 5, 6, 7, 8))


def results(found: FoldResults) -> Table:
    """nDCG@10 of each recommender in each fold with its place, the mean, the spread, and the difference to the best."""
    rows = []
    for row in found.rows:
        compared = row.compared
        rows.append(
            (
                row.title,
                *(f"{metric_value(value)} ({place})" for value, place in zip(row.ndcg, row.places, strict=True)),
                metric_value(row.mean),
                "" if math.isnan(row.deviation) else metric_value(row.deviation),
                f"{row.places.count(1)} of {len(row.places)}",
                *(
                    ("", "", "", "leader")
                    if compared is None
                    else (
                        signed_metric(compared.difference.mean),
                        interval(compared.difference.low, compared.difference.high, signed=True),
                        p_figure(compared.p_value_adjusted),
                        finding(row) or "not significantly different",
                    )
                ),
            )
        )
    columns = (
        "Recommender",
        *(f"Fold {one.fold.number}" for one in found.folds),
        *("Mean", "Deviation", "Folds won", "Difference", "Interval", "p corrected", "Finding"),
    )
    right = tuple(range(1, len(columns) - 1))
    return Table("nDCG@10 in each fold, with the place in it", columns, tuple(rows), right=right)


def recall(found: FoldResults) -> Table:
    """Recall@10 of each recommender in each fold, and its mean."""
    rows: list[tuple[Cell, ...]] = [
        (row.title, *map(metric_value, row.recall), metric_value(math.fsum(row.recall) / len(row.recall)))
        for row in found.rows
    ]
    columns = ("Recommender", *(f"Fold {one.fold.number}" for one in found.folds), "Mean")
    return Table("Recall@10 in each fold", columns, tuple(rows), right=tuple(range(1, len(columns))))


def finding(row: OverFolds) -> str:
    """``better`` or ``worse`` than the leader over all folds; empty where neither is significant."""
    if row.compared is None or not row.compared.p_value_adjusted < LEVEL:
        return ""
    return "better" if row.compared.difference.mean > 0 else "worse"


def chart(found: FoldResults) -> Chart:
    """nDCG@10 by fold of the recommenders with the highest means."""
    places = tuple(float(one.fold.number) for one in found.folds)
    lines = tuple(Line(row.title, places, row.ndcg) for row in found.rows[:DRAWN])
    shown = f", the best {len(lines)} of {len(found.rows)}" if len(found.rows) > DRAWN else ""
    return Chart(f"nDCG@10{NO_BREAK}by fold{shown}", "fold, the earliest first", "nDCG@10", lines)


def _number(value: int) -> str:
    return _NUMBERS[value] if value < len(_NUMBERS) else count(value)
