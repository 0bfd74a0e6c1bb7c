"""The result of an audit: one shape for all, so that a report and a check need to know only this."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

Cell = str | float | int | None

CONCERN = "concern"
"""The order of the leaderboard, or what is concluded from it, may be wrong."""
NOTE = "note"
"""Must be known to read the figures or to compare them with others; the order of the leaderboard does not depend on it.
"""
NO_CONCERN = "no concern"
"""Looked for, and not found."""
CANNOT_TELL = "cannot tell"
"""The data are too few, or lack what would be needed, to find it if it were there."""
NOT_APPLICABLE = "does not apply"
"""The question makes no sense for these data."""
OUTCOMES = (CONCERN, NOTE, CANNOT_TELL, NO_CONCERN, NOT_APPLICABLE)
"""The gravest first."""

LEAST_USERS = 100
"""Test users that a comparison of recommenders needs before a winner, or finding no difference, means anything.

Paired differences of nDCG@10 have a standard deviation of about .25. With it 100 users show a difference of .07 in four
of five draws (``(z(.975) + z(.8)) * s / sqrt(users)``; Cohen, "Statistical power analysis for the behavioral sciences",
1988, chapter 2); with fewer even larger ones stay hidden, and a winner is one by chance.
"""


@dataclass(frozen=True)
class Table:
    """Figures of an audit.

    Attributes:
        title: what it shows.
        columns: their headings.
        rows: one tuple a row, as long as ``columns``; numbers as numbers, ``None`` where there is none. Floats are
            metrics or shares and printed with four decimals; what is a percentage or a time is text already.
        note: what must be known to read it; may be empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"{self.title}: {len(self.columns)} columns, but a row of {len(wrong[0])} cells")


@dataclass(frozen=True)
class Line:
    """Points of a chart that belong together: ``x`` numbers or names, one ``y`` each, and bounds where known."""

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
    """A drawing of an audit.

    Attributes:
        title: what it shows.
        x: what the horizontal axis is.
        y: what the vertical axis is.
        lines: all over the same places where these are names.
        diagonal: whether the line of ``y = x`` belongs to it.
        logarithmic: whether both axes are; all values are above zero then.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    diagonal: bool = False
    logarithmic: bool = False


@dataclass(frozen=True)
class Audit:
    """One finding about a dataset, a split or a comparison.

    Attributes:
        name: of the asset and its check, in lower case with underscores.
        title: for readers.
        verdict: the finding in one plain sentence, with its figure.
        outcome: one of :data:`OUTCOMES`.
        explanation: why it matters and how it was measured, two or three sentences.
        tables: the figures.
        charts: drawings of them.
        facts: the figures that verdict and outcome rest on, by name.
    """

    name: str
    title: str
    verdict: str
    outcome: str
    explanation: str
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    facts: dict[str, Cell] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"the outcome of an audit is one of {', '.join(OUTCOMES)}, not {self.outcome!r}")

    @property
    def concern(self) -> bool:
        """Whether the check of the audit, of severity warning, fails."""
        return self.outcome == CONCERN

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"concern": self.concern}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """What :meth:`as_json` made, after a way through JSON."""
        tables = tuple(
            Table(one["title"], tuple(one["columns"]), tuple(tuple(row) for row in one["rows"]), one["note"])
            for one in values["tables"]
        )
        charts = tuple(
            Chart(**{**one, "lines": tuple(_line(line) for line in one["lines"])}) for one in values["charts"]
        )
        known = {name: value for name, value in values.items() if name != "concern"}
        return cls(**{**known, "tables": tables, "charts": charts})


def not_applicable(name: str, title: str, reason: str, explanation: str) -> Audit:
    """The audit of data that it cannot be made on; ``reason`` completes "This audit does not apply: ..."."""
    return Audit(
        name, title, f"This audit does not apply: {reason}.", NOT_APPLICABLE, explanation, facts={"applies": 0}
    )


def _line(values: dict[str, Any]) -> Line:
    points: dict[str, Any] = {name: value if name == "title" else tuple(value) for name, value in values.items()}
    return Line(**points)
