"""A decision on a release in Markdown, for the UI and the model card."""

from __future__ import annotations

from ml.release.gate.decision import Decision
from ml.reports.render.markdown.table import markdown_table
from ml.reports.render.text import escape_markdown
from ml.reports.words import release as words


def decision_text(decision: Decision) -> str:
    """The decision in Markdown, without a heading."""
    parts = [f"**{words.VERDICTS[decision.verdict]}.** {escape_markdown(decision.sentence)}"]
    parts += [escape_markdown(note) for note in decision.notes]
    if decision.findings:
        parts += [escape_markdown(words.introduction(decision))]
        if found := words.broken(decision):
            parts.append("\n".join(f"- {escape_markdown(sentence)}" for sentence in found))
        parts += [markdown_table(words.bounds_table(decision)), markdown_table(words.metrics_table(decision))]
    return "\n\n".join(parts)
