"""Accepted states of a dataset in Markdown, for the UI: their sizes as a plot, their figures as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ml import number_format as numbers
from ml.reports.render.markdown.table import table
from ml.reports.render.plots.chart import chart
from ml.reports.render.plots.drawing import markdown_image
from ml.tables import Cell, Chart, Line

State = Mapping[str, float | int | None]
_SIZES = ("rows", "users", "items")


def accepted_states(kind: str, states: Sequence[State]) -> str:
    """Markdown of the states of one kind of data that were accepted one after the other.

    Args:
        kind: ``reviews`` or ``metadata``.
        states: of :func:`ml.data.drift.states`; at least one.
    """
    sizes = [name for name in _SIZES if name in states[-1]]
    accepted = tuple(range(1, len(states) + 1))
    lines = tuple(Line(name, accepted, tuple(_of_first(states, name))) for name in sizes)
    drawn = Chart(f"Accepted states of the {kind}", "accepted state", "multiple of the first state shown", lines)
    columns = ["State", *(name.replace("_", " ").capitalize() for name in states[-1])]
    rows = [
        [str(number), *(_cell(name, state.get(name)) for name in states[-1])]
        for number, state in zip(accepted, states, strict=True)
    ]
    return f"{markdown_image(chart(drawn, f'accepted-{kind}'))}\n\n{table(columns, rows, right=range(len(columns)))}"


def _of_first(states: Sequence[State], name: str) -> list[float]:
    first = states[0][name]
    return [(state[name] or 0) / first if first else 0.0 for state in states]


def _cell(name: str, value: float | None) -> Cell:
    if value is None:
        return None
    if name.endswith("_share"):
        return numbers.percent(value)
    return numbers.count(value) if isinstance(value, int) else f"{value:.2f}"
