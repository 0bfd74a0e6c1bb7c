"""The leaderboard as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ml.evaluation.leaderboard_columns import TERMINAL, printed_columns
from ml.evaluation.protocol_line import protocol_line
from ml.number_format import duration, metric_value
from ml.tables import Cell, Table, to_text

_LONGEST_TITLE = 40


def to_text_table(leaderboard: pa.Table, seconds: Mapping[str, float] | None = None) -> str:
    """The leaderboard as aligned text, and the protocol below it.

    Args:
        leaderboard: of :func:`ml.evaluation.leaderboard.build_leaderboard`.
        seconds: time of fitting by name of recommender, for one more column.
    """
    printed = to_text(_table(leaderboard, seconds))
    width = max(80, len(printed.splitlines()[1]))
    below = textwrap.wrap(f"Protocol: {protocol_line(leaderboard)}.", width=width)
    return "\n".join([printed, "", *below, ""])


def _table(leaderboard: pa.Table, seconds: Mapping[str, float] | None) -> Table:
    columns = printed_columns(TERMINAL, leaderboard.schema.names)
    headings = [column.label for column in columns]
    right = [place for place, column in enumerate(columns) if column.format.right]
    rows = []
    for row in leaderboard.to_pylist():
        cells: list[Cell] = [_title(row) if column.name == "title" else column.cell(row) for column in columns]
        if seconds is not None:
            cells.append(duration(seconds[row["recommender"]]) if row["recommender"] in seconds else "")
        rows.append(tuple(cells))
    if seconds is not None:
        right.append(len(headings))
        headings.append("Fit")
    return Table("", tuple(headings), tuple(rows), right=tuple(right))


def _title(row: Mapping[str, Any]) -> str:
    """The title, shortened, and how much the seeds differ where there are several."""
    title = textwrap.shorten(row["title"], _LONGEST_TITLE, placeholder=" ...")
    return title if row["seeds"] == 1 else f"{title}, {row['seeds']} seeds, sd {metric_value(row['seed_deviation'])}"
