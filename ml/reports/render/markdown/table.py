"""A Markdown table whose text cannot leave its cell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ml.evaluation.leaderboard_columns import printed_columns
from ml.number_format import duration
from ml.reports.content.evaluation import Leaderboard, LeaderboardRow
from ml.reports.render.text import escape_markdown
from ml.tables import Cell, Table


def markdown_table(table: Table) -> str:
    """Headings and rows in Markdown; title and note are left to the caller."""
    lines = [[escape_markdown(cell) for cell in cells] for cells in (table.columns, *table.texts)]
    right = table.aligned_right
    rule = ["---:" if place in right else "---" for place in range(len(table.columns))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], rule, *lines[1:]))


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], right: Collection[int] = ()) -> str:
    """The Markdown of a table without a title; ``right`` holds the columns aligned to the right."""
    return markdown_table(Table("", tuple(columns), tuple(map(tuple, rows)), right=tuple(sorted(right))))


def leaderboard_table(
    board: Leaderboard,
    name: str,
    cells: Mapping[str, Callable[[LeaderboardRow], str]],
    fit_seconds: Mapping[str, float] | None = None,
    rows: Sequence[LeaderboardRow] | None = None,
) -> Table:
    """A printed table of the leaderboard.

    Args:
        board: the leaderboard.
        name: which table, as :mod:`ml.evaluation.leaderboard_columns` names it.
        cells: what to print in a column instead of its value, by name of the column.
        fit_seconds: seconds of fitting by name of recommender, for one more column.
        rows: to show; all where ``None``.
    """
    columns = printed_columns(name, board.columns)
    headings = [column.label for column in columns]
    right = [place for place, column in enumerate(columns) if column.format.right]
    lines = []
    for row in board.rows if rows is None else rows:
        line = [cells[one.name](row) if one.name in cells else one.cell(row.values) for one in columns]
        if fit_seconds is not None:
            line.append(duration(fit_seconds[row.recommender]) if row.recommender in fit_seconds else "")
        lines.append(tuple(line))
    if fit_seconds is not None:
        right.append(len(headings))
        headings.append("Fit")
    return Table("", tuple(headings), tuple(lines), right=tuple(right))
