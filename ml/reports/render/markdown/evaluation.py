"""Audits, slices and list metrics as Markdown, for the metadata of assets and for the model card."""

from __future__ import annotations

from ml import number_format as numbers
from ml.audits.audit import Audit
from ml.evaluation.leaderboard_columns import COMPARISON
from ml.evaluation.metrics import metric_name
from ml.reports.content.report import HEADLINE, Leaderboard, ReportContent
from ml.reports.render.markdown.table import leaderboard_table, markdown_table, table
from ml.reports.render.plots.chart import chart
from ml.reports.render.plots.drawing import markdown_image
from ml.reports.render.text import escape_markdown
from ml.reports.words import evaluation as wording_evaluation
from ml.reports.words import wording
from ml.reports.words.verdict import gravity
from ml.tables import Table


def audit(audit: Audit, images: bool = True, most_rows: int | None = None) -> str:
    """One audit: title, outcome, verdict, explanation, drawings and tables.

    Args:
        audit: what to show.
        images: whether its charts are drawn, as PNG that needs no file beside it; many viewers show none of these.
        most_rows: of a table; a longer one is replaced by a note.
    """
    parts = [
        f"### {escape_markdown(audit.title)}",
        f"**{audit.outcome.capitalize()}.** {escape_markdown(audit.verdict)}",
        escape_markdown(audit.explanation),
    ]
    if images:
        drawn = [one for one in audit.charts if any(line.x for line in one.lines)]
        parts += [markdown_image(chart(one, f"chart-{place}")) for place, one in enumerate(drawn, start=1)]
    parts += [audit_table(one, most_rows) for one in audit.tables]
    return "\n\n".join(part for part in parts if part)


def audit_table(found: Table, most_rows: int | None = None) -> str:
    """A table of an audit below its title."""
    if most_rows is not None and len(found.rows) > most_rows:
        return f"**{escape_markdown(found.title)}.** {numbers.of(len(found.rows), 'row')}, omitted here."
    note = f" {escape_markdown(found.note)}" if found.note else ""
    return f"**{escape_markdown(found.title)}.**{note}\n\n{markdown_table(found)}"


def audits(content: ReportContent) -> str:
    """One row for each audit: its outcome and its verdict."""
    ordered = sorted(content.audits, key=gravity)
    rows = [(one.title, one.outcome, one.verdict) for one in ordered]
    return table(("Audit", "Outcome", "Verdict"), rows)


def slices(content: ReportContent) -> str:
    """A table a slice: users and the headline metric with its interval, of the leader and the best of each kind."""
    rows = wording_evaluation.slice_rows(content.leaderboard)
    parts = []
    for view in wording_evaluation.slice_views(content):
        lines = []
        for bucket, users, found in view.buckets:
            cells = [bucket, numbers.count(users)]
            for row in rows:
                estimate = found[row.recommender].headline if row.recommender in found else None
                bounds = wording.interval(estimate) if estimate else ""
                value = numbers.metric_value(estimate.value) if estimate else ""
                cells.append(f"{value} ({bounds})" if bounds else value)
            lines.append(cells)
        header = (view.name[:1].upper() + view.name[1:], "Users", *(row.title for row in rows))
        parts.append(table(header, lines, set(range(1, len(header)))))
    if not parts:
        return ""
    return "\n\n".join([f"{metric_name(HEADLINE)} with its 95 % interval.", *parts])


def list_metrics(content: ReportContent) -> str:
    """What is recommended, one row a recommender."""
    columns = wording_evaluation.list_columns(content.list_metrics)
    if not columns:
        return ""
    rows = [
        (row.title, *(wording_evaluation.list_value(column, found.get(column.metric)) for column in columns))
        for row in content.leaderboard.rows
        if (found := content.list_metrics.get(row.recommender)) is not None
    ]
    header = ("Recommender", *(column.heading for column in columns))
    meanings = "; ".join(f"{column.heading}: {column.meaning}" for column in columns)
    return f"{table(header, rows, set(range(1, len(header))))}\n\n{escape_markdown(meanings)}."


def all_metrics(board: Leaderboard) -> str:
    """A table a kind of metric, at all cut-offs."""
    parts = []
    for family in wording_evaluation.families(board):
        header = ("Recommender", *map(metric_name, family.metrics))
        rows = [
            (
                row.title,
                *(numbers.metric_value(row[one]) if one in row.metrics else "" for one in family.metrics),
            )
            for row in board.rows
        ]
        note = f"{escape_markdown(family.note)}\n\n" if family.note else ""
        parts.append(note + table(header, rows, set(range(1, len(header)))))
    return "\n\n".join(parts)


def comparison(board: Leaderboard) -> str:
    """Each recommender against the best baseline: difference, interval, p alone and corrected, finding."""
    compared = [row for row in board.rows if row.difference is not None]
    return markdown_table(
        leaderboard_table(board, COMPARISON, {"beats": lambda row: wording.beats(row, board)}, rows=compared)
    )
