"""The tables of a report as Markdown, for the metadata of assets in the Dagster UI.

Everything that may come from a dump is escaped: it can neither break a table nor become markup or a link.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ml import number_format as numbers
from ml.evaluation.columns import RANKING
from ml.evaluation.metrics import metric_name
from ml.evaluation.trade_offs.content import TradeOffs
from ml.evaluation.what_helps.content import WhatHelps
from ml.reports.content.answers import Answers
from ml.reports.content.report import (
    HEADLINE,
    Check,
    CodesReport,
    DumpFile,
    ExampleItem,
    Examples,
    Funnel,
    Generation,
    Leaderboard,
    LeaderboardRow,
    RejectedLine,
    ReportContent,
    TrainingCurve,
)
from ml.reports.render.markdown.evaluation import all_metrics, audit, audits, comparison, list_metrics, slices
from ml.reports.render.markdown.table import leaderboard_table, markdown_table, table
from ml.reports.render.text import escape_markdown
from ml.reports.words import answers as words_of_answers
from ml.reports.words import beyond_accuracy as words_beyond_accuracy
from ml.reports.words import codes as words_of_codes
from ml.reports.words import generation as words_of_generation
from ml.reports.words import verdict, wording
from ml.reports.words import what_helps as words_what_helps
from ml.reports.words.row_marks import row_marks

__all__ = [
    "all_metrics",
    "answers",
    "audit",
    "audits",
    "beyond_accuracy",
    "checks",
    "codes",
    "comparison",
    "examples",
    "funnel",
    "generation",
    "leaderboard",
    "list_metrics",
    "reading",
    "rejected",
    "report",
    "slices",
    "statistics",
    "training",
    "what_helps",
]


def leaderboard(
    board: Leaderboard,
    fit_seconds: Mapping[str, float] | None = None,
    marks: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The leaderboard with its protocol line.

    Args:
        board: the recommenders.
        fit_seconds: seconds of fitting by name of recommender, for one more column.
        marks: of :func:`ml.reports.words.row_marks.row_marks`, to stand beside the names.
    """
    marks = marks or {}

    def name(row: LeaderboardRow) -> str:
        below = [wording.seeds(row), *marks.get(row.recommender, ())]
        return f"{row.title} ({', '.join(filter(None, below))})" if any(below) else row.title

    ranking = leaderboard_table(board, RANKING, {"title": name}, fit_seconds)
    protocol = "; ".join(f"{label}: {value}" for label, value in board.protocol)
    ending = f"\n\n**Protocol.** {escape_markdown(protocol)}." if protocol else ""
    return markdown_table(ranking) + ending


def funnel(funnel: Funnel) -> str:
    """Every row of the dump, and where it went."""
    first = max((step.rows for step in funnel.steps), default=0) or 1
    rows = [
        (
            wording.funnel_label(step),
            numbers.count(step.rows),
            numbers.percent(step.rows / first),
        )
        for step in funnel.steps
    ]
    rows.append(("Unexplained", numbers.count(funnel.unexplained), ""))
    return table((funnel.source.capitalize(), "Rows", "Share"), rows, {1, 2})


def reading(files: Sequence[DumpFile]) -> str:
    """How each file was read; empty where nothing is known."""
    rows = [
        (file.name, file.source, file.layout, "; ".join(file.reading), " ".join(file.warnings))
        for file in wording.reading(files)
    ]
    return table(("File", "Holds", "Layout", "Read as", "Warnings"), rows) if rows else ""


def statistics(content: ReportContent) -> str:
    """The statistics of the dataset."""
    rows = [
        (heading, line.label, line.value, "" if line.share is None else numbers.percent(line.share))
        for heading, lines in wording.statistics(content)
        for line in lines
    ]
    return table(("", "Statistic", "Value", "Share"), rows, {2, 3})


def training(curves: Sequence[TrainingCurve]) -> str:
    """One row a trained model."""
    rows = []
    for curve in curves:
        kept = curve.kept_validation
        size = "" if curve.parameters is None else numbers.count(curve.parameters)
        best = "" if curve.best_epoch is None else str(curve.best_epoch)
        value = "" if kept is None else numbers.metric_value(kept)
        rows.append((curve.title, curve.loss_name, size, str(len(curve.epochs)), best, value))
    header = ("Model", "Loss", "Parameters", "Epochs", "Kept", f"Validation {metric_name(HEADLINE)}")
    return table(header, rows, {2, 3, 4, 5})


def codes(reports: Sequence[CodesReport]) -> str:
    """One row a code assignment, then a table of what the codes know of the items, and the prefixes of each."""
    rows = [
        (
            report.name,
            report.method,
            numbers.count(report.items),
            words_of_codes.book_sizes(report.books),
            wording.code_use(report),
            numbers.count(report.colliding_items),
            numbers.count(report.largest_collision),
        )
        for report in reports
    ]
    header = (
        "Assignment",
        "Made by",
        "Items",
        "Code books",
        "Codes in use",
        "Colliding items",
        "Largest collision",
    )
    further = [words_of_codes.knowledge(reports), *map(words_of_codes.prefixes, reports)]
    parts = [table(header, rows, {2, 3, 4, 5, 6})]
    for one in filter(None, further):
        parts += [f"**{escape_markdown(one.title)}**", escape_markdown(one.note), markdown_table(one)]
    return "\n\n".join(parts)


def generation(found: Sequence[Generation]) -> str:
    """How models that generate identifiers made their lists."""
    tables = (
        words_of_generation.decoding(found),
        words_of_generation.inflation(found),
        words_of_generation.widths(found),
    )
    parts = []
    for one in filter(None, tables):
        parts += [f"**{escape_markdown(one.title)}**", escape_markdown(one.note), markdown_table(one)]
    return "\n\n".join(parts)


def beyond_accuracy(found: TradeOffs) -> str:
    """Accuracy against goals beyond it: what goals cost, hypervolumes, and all points."""
    parts = [escape_markdown(words_beyond_accuracy.introduction(found))] if found.series else []
    if found.left_out:
        parts.append("\n".join(f"- Left out: {escape_markdown(sentence)}." for sentence in found.left_out))
    points = (words_beyond_accuracy.points(found, goal) for goal in words_beyond_accuracy.goals(found))
    for one in (*words_beyond_accuracy.tables(found), *points):
        parts += [f"**{escape_markdown(one.title)}**", escape_markdown(one.note), markdown_table(one)]
    return "\n\n".join(parts)


def what_helps(found: WhatHelps, seconds: Mapping[str, float] | None = None) -> str:
    """Recommenders beside their plain counterparts; empty where none was run.

    Args:
        found: the comparison.
        seconds: of fitting by name of recommender, for one more table.
    """
    parts = [escape_markdown(words_what_helps.introduction(found))] if found.gains else []
    for family in words_what_helps.families(found):
        title, summary = words_what_helps.family_title(family), words_what_helps.summary(found, family)
        parts.append(f"**{escape_markdown(title)}.** {escape_markdown(summary)}")
        told = words_what_helps.sentences(found, family)
        parts.append("\n".join(f"- {escape_markdown(sentence)}" for sentence in told))
        parts.append(markdown_table(words_what_helps.differences(found, family)))
    if words_what_helps.left_out(found):
        parts.append("\n".join(f"- {escape_markdown(sentence)}" for sentence in words_what_helps.left_out(found)))
    if seconds and (times := words_what_helps.training(found, seconds)) is not None:
        parts += [f"**{escape_markdown(times.title)}**", escape_markdown(times.note), markdown_table(times)]
    return "\n\n".join(parts)


def answers(found: Sequence[Answers]) -> str:
    """What the answers of language models that re-rank were worth."""
    parts = [escape_markdown(words_of_answers.INTRODUCTION)]
    parts += [
        "\n".join(f"- {escape_markdown(sentence)}" for sentence in words_of_answers.sentences(one)) for one in found
    ]
    for shown in words_of_answers.tables(found):
        parts += [f"**{escape_markdown(shown.title)}**", escape_markdown(shown.note), markdown_table(shown)]
    return "\n\n".join(parts)


def checks(results: Iterable[Check]) -> str:
    """All checks, the failed ones first."""
    ordered = sorted(results, key=lambda check: (check.passed, check.asset, check.name))
    rows = [
        (check.name, check.asset, "passed" if check.passed else "FAILED", check.severity, check.detail)
        for check in ordered
    ]
    return table(("Check", "Asset", "Result", "Severity", "Found"), rows)


def rejected(lines: Iterable[RejectedLine]) -> str:
    """Examples of rejected lines."""
    rows = [(line.source_file, numbers.count(line.line_number), line.reason, line.detail, line.line) for line in lines]
    return table(("File", "Line", "Reason", "Detail", "Beginning"), rows, {1})


def examples(found: Examples) -> str:
    """What was recommended to a few users."""
    parts = [f"By {escape_markdown(found.title)}. {escape_markdown(found.rule)}"]
    for user in found.users:
        history = "; ".join(map(_item, user.history))
        rank = f"at rank {user.target_rank}" if user.target_rank else f"not among the first {user.depth}"
        lines = [
            f"**User {escape_markdown(user.user_id)}**",
            f"- last {len(user.history)} of {numbers.of(user.history_length, 'item')}: {history}",
            f"- next: {_item(user.target)}, {rank}"
            + (f"; later: {'; '.join(map(_item, user.later_targets))}" if user.later_targets else ""),
            *(f"{place}. {_item(entry)}" for place, entry in enumerate(user.recommended, start=1)),
        ]
        parts.append("\n".join([lines[0], "", *lines[1:3], "", *lines[3:]]))
    return "\n\n".join(parts)


def report(content: ReportContent) -> str:
    """The first screen of the report: verdict, leaderboard, audits and caveats."""
    sentences = "\n\n".join(map(escape_markdown, verdict.verdict(content)))
    further = "\n".join(f"- {escape_markdown(sentence)}" for sentence in verdict.further_caveats(content))
    board = leaderboard(content.leaderboard, marks=row_marks(content))
    parts = (sentences, board, audits(content) if content.audits else "", further)
    return "\n\n".join(part for part in parts if part)


def _item(entry: ExampleItem) -> str:
    shown = escape_markdown(entry.title or entry.item_id)
    return f"**{shown}**" if entry.is_target or entry.is_later_target else shown
