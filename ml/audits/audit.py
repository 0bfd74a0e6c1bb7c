"""The result of an audit: one shape for all, so that a report and a check need to know only this."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from ml.tables import Cell, Chart, Line, Table

CONCERN = "concern"
"""The order of the leaderboard, or a conclusion from it, may be wrong."""
NOTE = "note"
"""Matters for reading the numbers or comparing them with others; the order of the leaderboard does not depend on it."""
NO_CONCERN = "no concern"
"""The audit looked for a weakness and found none."""
CANNOT_TELL = "cannot tell"
"""There are too few data, or they lack what the audit needs, to find a weakness."""
NOT_APPLICABLE = "does not apply"
"""The question does not make sense for these data."""
OUTCOMES = (CONCERN, NOTE, CANNOT_TELL, NO_CONCERN, NOT_APPLICABLE)
"""The most serious first."""

LEAST_USERS = 100
"""Test users that a comparison of recommenders needs before a winner, or finding no difference, means anything.

Paired differences of nDCG@10 have a standard deviation of about .25. With it 100 users show a difference of .07 in four
of five draws (``(z(.975) + z(.8)) * s / sqrt(users)``; Cohen, "Statistical power analysis for the behavioral sciences",
1988, chapter 2); with fewer even larger ones stay hidden, and a winner is one by chance.
"""


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
        """The audit as JSON holds it; a table has ``right`` only where that does not follow from its cells."""
        values = asdict(self) | {"concern": self.concern}
        for table in values["tables"]:
            if table["right"] is None:
                del table["right"]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """What :meth:`as_json` made, after a way through JSON."""
        tables = tuple(
            Table(
                one["title"],
                tuple(one["columns"]),
                tuple(tuple(row) for row in one["rows"]),
                one["note"],
                tuple(one["right"]) if one.get("right") is not None else None,
            )
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


def of_first_targets(audit: Audit) -> Audit:
    """The audit of data with several targets a user, which says that it reads the first of them."""
    if audit.outcome == NOT_APPLICABLE:
        return audit
    return replace(
        audit,
        explanation=f"{audit.explanation} Users are tested with several items here: of each user this audit looks at "
        "the first of them, which follows the history.",
    )


def _line(values: dict[str, Any]) -> Line:
    points: dict[str, Any] = {name: value if name == "title" else tuple(value) for name, value in values.items()}
    return Line(**points)
