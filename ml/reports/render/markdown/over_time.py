"""Results over time in Markdown, for the UI and the model card."""

from __future__ import annotations

from collections.abc import Sequence

from ml.release.over_time import Standing
from ml.release.progress import Result
from ml.reports.render.markdown.table import markdown_table
from ml.reports.render.plots.chart import chart
from ml.reports.render.plots.drawing import markdown_image
from ml.reports.render.text import escape_markdown
from ml.reports.words import over_time as words


def over_time(entries: Sequence[Standing], made: Sequence[tuple[str, str]] = (), images: bool = True) -> str:
    """The results with a drawing, and what they were made from, without a heading.

    Args:
        entries: the oldest first.
        made: when each was made, and in which Dagster run.
        images: whether the drawing is part of it.
    """
    parts = [escape_markdown(words.introduction(entries))]
    drawn = words.chart(entries) if images else None
    if drawn is not None:
        parts.append(markdown_image(chart(drawn, "over-time")))
    tables = (words.table(entries), words.origins_table(entries, made))
    return "\n\n".join([*parts, *map(markdown_table, tables)])


def progress(series: Sequence[Result]) -> str:
    """What releases were worth for what came after them, in a table."""
    return f"{escape_markdown(words.AHEAD)}\n\n{markdown_table(words.progress_table(series))}"
