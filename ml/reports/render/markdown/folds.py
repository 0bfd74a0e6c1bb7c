"""Results in temporal folds in Markdown, for the UI and the model card."""

from __future__ import annotations

from ml.evaluation.folds.content import FoldResults
from ml.reports.render.markdown.table import markdown_table
from ml.reports.render.plots.chart import chart
from ml.reports.render.plots.drawing import markdown_image
from ml.reports.render.text import escape_markdown
from ml.reports.words import folds as words


def folds(found: FoldResults, images: bool = True) -> str:
    """The section without its heading.

    Args:
        found: with at least one recommender.
        images: whether the drawing is part of it.
    """
    parts = [
        escape_markdown(words.introduction(found)),
        "\n".join(f"- {escape_markdown(sentence)}" for sentence in words.summary(found)),
        *([markdown_image(chart(words.chart(found), "folds"))] if images else []),
    ]
    for table in (words.results(found), words.recall(found), words.dates(found)):
        parts += [f"**{escape_markdown(table.title)}**", markdown_table(table)]
        parts += [escape_markdown(table.note)] if table.note else []
    return "\n\n".join([*parts, escape_markdown(words.method(found))])
