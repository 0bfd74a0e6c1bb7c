"""A Markdown table whose text cannot leave its cell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ml.reports.render.text import escape_markdown


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> str:
    """A Markdown table; ``right`` holds the places of the columns aligned to the right."""
    lines = [[escape_markdown(cell) for cell in cells] for cells in (header, *rows)]
    rule = ["---:" if place in right else "---" for place in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], rule, *lines[1:]))
