"""Tables and charts as data: what audits, the leaderboard and the report hand to their renderers.

A renderer (terminal, Markdown, HTML, drawings) needs to know these types and nothing of what they are about. All text
may come from a dump and is never trusted: the renderer escapes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ml.number_format import NO_BREAK, count, metric_value

Cell = str | float | int | None

# a text that is a figure: a percentage, a signed difference, a time, a range, a part of a whole
_NUMBER = r"(?:[<>≈±+−-]\s?)?\d[\d.,]*(?:\s?(?:%|‰|×|k|M|ms|s|min|h|days?|bits?|users?|items?))?"
_FIGURE = re.compile(rf"{_NUMBER}(?:(?: to | of | × |\s?/\s?){_NUMBER})?(?: \({_NUMBER}(?: to {_NUMBER})?\))?")


@dataclass(frozen=True)
class Table:
    """Rows under headings.

    Attributes:
        title: what it shows; may be empty where a heading above it tells.
        columns: headings.
        rows: one tuple a row, as long as ``columns``; numbers as numbers, ``None`` where there is none. Floats are
            metrics or shares and printed with four decimals; a percentage or a time is text already.
        note: what a reader must know; may be empty.
        right: columns that are aligned to the right; ``None`` for those that hold nothing but figures, the first
            column never.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    right: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"{self.title}: {len(self.columns)} columns, but a row of {len(wrong[0])} cells")

    @property
    def aligned_right(self) -> frozenset[int]:
        """The columns that are aligned to the right."""
        if self.right is not None:
            return frozenset(self.right)
        return frozenset(column for column in range(1, len(self.columns)) if self._holds_figures(column))

    def _holds_figures(self, column: int) -> bool:
        found = [row[column] for row in self.rows if row[column] not in (None, "")]
        return bool(found) and all(
            not isinstance(value, str) or _FIGURE.fullmatch(value.replace(NO_BREAK, " ")) for value in found
        )

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The rows as they are printed, not escaped."""
        return tuple(tuple(cell_text(value) for value in row) for row in self.rows)


@dataclass(frozen=True)
class Line:
    """Points of a chart that belong together.

    Attributes:
        title: name of the line.
        x: numbers or names.
        y: one value for each ``x``.
        low: lower bound of each value, or empty.
        high: upper bound of each value, or empty.

    Raises:
        ValueError: the numbers of places, values and bounds differ.
    """

    title: str
    x: tuple[float, ...] | tuple[str, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or any(len(bound) not in (0, len(self.y)) for bound in (self.low, self.high)):
            raise ValueError(f"{self.title}: {len(self.x)} places, {len(self.y)} values and other numbers of bounds")


@dataclass(frozen=True)
class Chart:
    """A drawing of some lines.

    Attributes:
        title: what it shows.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        lines: all over the same places where these are names.
        diagonal: whether the line of ``y = x`` is drawn.
        logarithmic: whether both axes are logarithmic; all values must be positive then.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    diagonal: bool = False
    logarithmic: bool = False


def cell_text(value: Cell) -> str:
    """A cell as it is printed: floats with four decimals, whole numbers with separators, nothing for ``None``."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return count(value)
    return metric_value(value).replace("-", "−")


def to_text(table: Table, shown: Callable[[str], str] = str) -> str:
    """Headings and rows as aligned text for a terminal.

    Args:
        table: what to print; title and note are left to the caller.
        shown: applied to every heading and cell, to escape or to shorten it.
    """
    cells = [[shown(cell) for cell in row] for row in (table.columns, *table.texts)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    right = table.aligned_right
    lines = (
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)
