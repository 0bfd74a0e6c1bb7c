"""Results of progressive evaluation in Markdown, for the UI: a plot and a table, the last result first."""

from __future__ import annotations

from collections.abc import Sequence

from ml import number_format as numbers
from ml.release.progress import Result
from ml.reports.render.markdown.table import table
from ml.reports.render.plots.chart import chart
from ml.reports.render.plots.drawing import markdown_image
from ml.reports.words.over_time import progress_chart
from ml.tables import Cell

_SHOWN = 50
_COLUMNS = (
    "Result",
    "Release",
    "Recommender",
    "New interactions",
    "Late",
    "Lost",
    "New users",
    "Users ranked",
    "New items",
    "nDCG@10",
    "95 %",
    "Recall@10",
    "Most popular",
    "Difference, 95 %",
)
_NOTHING = "No new interactions since a release was made. The next dump that brings some is the test of the release."


def progress(series: Sequence[Result]) -> str:
    """Markdown of the series; a sentence where there is no result yet."""
    if not series:
        return _NOTHING
    numbered = list(enumerate(series, start=1))[-_SHOWN:]
    rows = [_row(number, one) for number, one in reversed(numbered)]
    text = table(_COLUMNS, rows, right=(3, 4, 5, 6, 7, 8, 9, 11, 12))
    drawn = progress_chart(series)
    return text if drawn is None else f"{markdown_image(chart(drawn, 'progress'))}\n\n{text}"


def _row(number: int, one: Result) -> list[Cell]:
    return [
        str(number),
        one.release[:12],
        one.title,
        one.interactions,
        one.late,
        one.lost,
        one.new_users,
        one.users,
        one.new_items,
        one.ndcg,
        numbers.interval(one.ndcg_low, one.ndcg_high),
        one.recall,
        one.popular_ndcg,
        numbers.interval(one.difference_low, one.difference_high, signed=True),
    ]
