"""Warnings for trained recommenders whose metrics alone do not show that something is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from ml.number_format import listed, metric_value, percent
from ml.reports.content.report import HEADLINE, LeaderboardRow, ReportContent

POPULARITY = "most_popular"
# mean share of the items by which the lists of two users differ; below this all users get nearly the same list
LEAST_PERSONALISATION = 0.05
ONE_LIST = "one list for everyone"
BELOW_POPULAR = "below most popular"
NOT_ABOVE_POPULAR = "not significantly above most popular"


def row_marks(content: ReportContent) -> dict[str, tuple[str, ...]]:
    """The marks of each trained recommender that has any, by its name.

    Baselines get no marks: some of them give everyone the same list by design.
    """
    board = content.leaderboard
    popular = next((row for row in board.rows if row.recommender == POPULARITY), None)
    tested = any(row.beats for row in board.rows)
    found = {}
    for row in board.rows:
        if not row.trained:
            continue
        marks = []
        personalisation = content.list_metrics.get(row.recommender, {}).get("personalisation@10")
        if personalisation is not None and personalisation < LEAST_PERSONALISATION:
            marks.append(ONE_LIST)
        if popular is not None and _value(row) <= _value(popular):
            marks.append(BELOW_POPULAR)
        elif popular is not None and tested and POPULARITY not in row.beats:
            marks.append(NOT_ABOVE_POPULAR)
        if marks:
            found[row.recommender] = tuple(marks)
    return found


def mark_sentences(content: ReportContent) -> Iterator[str]:
    """The same as sentences, each with the recommenders that it is about."""
    marks = row_marks(content)
    rows = {row.recommender: row for row in content.leaderboard.rows}

    def titles(mark: str) -> list[str]:
        return [rows[name].title for name, found in marks.items() if mark in found]

    same = titles(ONE_LIST)
    if same:
        highest = max(
            content.list_metrics[name]["personalisation@10"] or 0.0
            for name, found in marks.items()
            if ONE_LIST in found
        )
        recommends = "recommends" if len(same) == 1 else "recommend"
        if highest < 0.0005:
            yield f"{listed(same)} {recommends} the same list to every user."
        else:
            yield (
                f"{listed(same)} {recommends} nearly the same list to every user: on average, the lists of two users "
                f"differ in at most {percent(highest)} of their items."
            )
    if POPULARITY not in rows:
        return
    popular = f"{rows[POPULARITY].title} ({metric_value(_value(rows[POPULARITY]))})"
    for mark, words in ((BELOW_POPULAR, "no better than"), (NOT_ABOVE_POPULAR, "not significantly better than")):
        named = titles(mark)
        if named:
            verb = "is" if len(named) == 1 else "are"
            yield f"{listed(named)} {verb} {words} {popular}, which is the same for every user."


def _value(row: LeaderboardRow) -> float:
    return row[HEADLINE]
