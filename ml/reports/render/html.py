"""The report as one HTML file that needs nothing beside it: no script, no font, no image from elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from ml import number_format as numbers
from ml.data.files import atomic_file
from ml.evaluation.columns import COMPARISON, LEADERBOARD, LOW, RANKING, Column, printed_columns
from ml.evaluation.metrics import metric_name
from ml.reports.content.report import (
    HEADLINE,
    Check,
    Funnel,
    ReportContent,
    RunFacts,
)
from ml.reports.render.environment import TEMPLATES, environment
from ml.reports.render.plots import report as plots
from ml.reports.render.plots.chart import chart
from ml.reports.words import answers as words_of_answers
from ml.reports.words import beyond_accuracy as words_beyond_accuracy
from ml.reports.words import codes as words_of_codes
from ml.reports.words import evaluation as wording_evaluation
from ml.reports.words import folds as words_folds
from ml.reports.words import generation as words_of_generation
from ml.reports.words import over_time as words_over_time
from ml.reports.words import release as words_of_releases
from ml.reports.words import verdict, wording
from ml.reports.words import what_helps as words_what_helps
from ml.reports.words.row_marks import row_marks
from ml.tables import Table

# characters of a name that are not broken, and that half of the page has room for
_NAME = 24
_HALF = 54
# the columns that the templates lay out themselves, with drawings, intervals below figures, or marks
_RANKING = ("position", "title", "kind", HEADLINE, LOW, "difference")
_COMPARISON = (
    *("title", "difference", "difference_low", "p_value", "p_value_adjusted", "finding", "beats"),
    *("seeds", "seed_deviation"),
)


def write_html(content: ReportContent, path: Path, run: RunFacts | None = None) -> None:
    """Write the report; ``path`` holds the whole report or what it held before.

    Args:
        content: what it says; equal content gives equal bytes in all sections but the one about the run.
        path: the HTML file; its folders are made.
        run: machine and seconds, shown in a section of their own; left out where ``None``.
    """
    text = render_html(content, run)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def render_html(content: ReportContent, run: RunFacts | None = None) -> str:
    """The report as text; see :func:`write_html`."""
    page = environment()
    page.globals.update(
        wording=wording,
        codes=words_of_codes,
        generating=words_of_generation,
        beyond=words_beyond_accuracy,
        helping=words_what_helps,
        folding=words_folds,
        answering=words_of_answers,
        releasing=words_of_releases,
        over_time=words_over_time,
        numbers=numbers,
        labels=wording_evaluation,
        verdict=verdict,
        metric_name=metric_name,
        headings={column.name: column.label for column in LEADERBOARD},
        count=numbers.count,
        percent=numbers.percent,
    )
    template = page.get_template("report.html.j2")
    board = content.leaderboard
    audits = _audit_views(content)
    seconds = run.fit_seconds if run else {}
    return template.render(
        content=content,
        run=run,
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        board=_board_view(content),
        families=wording_evaluation.families(board),
        list_columns=wording_evaluation.list_columns(content.list_metrics),
        slices=_slice_views(content),
        slice_rows=wording_evaluation.slice_rows(board),
        audits=audits,
        audit_ids={view["audit"].name: view["id"] for view in audits},
        costs=[
            (place, row)
            for place, row in enumerate(board.rows, start=1)
            if row["parameters"] or row["model_bytes"] or row.recommender in seconds
        ],
        seconds=seconds,
        funnels=[_funnel_view(funnel) for funnel in content.funnels],
        checks=_checks_view(content.checks),
        figures=_figures(content, run),
        generation_figures=_generation_figures(content),
        beyond_accuracy_figures=_beyond_accuracy_figures(content),
        what_helps_figures=_what_helps_figures(content),
        folds_figure=_folds_figure(content),
        answers_figure=_answers_figure(content),
        over_time_figures=_over_time_figures(content),
        headline=HEADLINE,
    )


@dataclass(frozen=True)
class _Mark:
    """A dot and its interval on a common scale, as percentages of the width."""

    at: float
    low: float | None
    high: float | None


def _board_view(content: ReportContent) -> dict:
    """The leaderboard as the template prints it: the scale, and the dot and the marks of each row."""
    board = content.leaderboard
    estimates = [row.headline for row in board.rows]
    longest = max([e.value for e in estimates] + [e.high for e in estimates if e.high is not None], default=0.0)
    full = (longest or 1.0) * 1.04
    reference = board.reference

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * max(value, 0.0) / full, 2)

    marks = row_marks(content)
    rows = []
    for row in board.rows:
        estimate = row.headline
        mark = _Mark(place(estimate.value) or 0.0, place(estimate.low), place(estimate.high))
        rows.append({"row": row, "mark": mark, "wrong": marks.get(row.recommender, ())})
    return {
        "rows": rows,
        "columns": _further(RANKING, _RANKING, board.columns),
        "compared_columns": _further(COMPARISON, _COMPARISON, board.columns),
        "ticks": [(round(100 * tick / full, 2), label) for tick, label in _ticks(full)],
        "reference": place(reference[HEADLINE]) if reference else None,
        "compared": any(row.difference is not None for row in board.rows),
        "corrected": any(row["p_value_adjusted"] is not None for row in board.rows),
        "several_seeds": any(row["seeds"] > 1 for row in board.rows),
        "beats": any(row.beats for row in board.rows),
        "cuts": any(row["cut_tied"] is not None for row in board.rows),
        "has_intervals": any(estimate.low is not None for estimate in estimates),
    }


def _further(table: str, laid_out: Sequence[str], names: Sequence[str] | None) -> tuple[Column, ...]:
    """The columns of a printed table but those that the template lays out itself."""
    return tuple(column for column in printed_columns(table, names) if column.name not in laid_out)


def _ticks(full: float, most: int = 4) -> list[tuple[float, str]]:
    """Round numbers from 0 up to ``full``, at most ``most`` beside 0, and how each is written."""
    exponent = math.floor(math.log10(full))
    unit = 10.0**exponent
    step = next(s for s in (unit / 10, unit / 5, unit / 2, unit, 2 * unit, 5 * unit) if full / s < most + 1)
    decimals = max(0, -exponent + (step < unit))
    ticks = [round(n * step, 12) for n in range(int(full / step) + 1)]
    return [(tick, f"{tick:.{decimals}f}" if tick else "0") for tick in ticks]


def _funnel_view(funnel: Funnel) -> dict:
    """Funnel with bars as percentages of its longest stage."""
    longest = max((step.rows for step in funnel.steps), default=0) or 1
    bars = []
    for start, width in plots.funnel_bars(funnel):
        # something is never drawn as nothing
        drawn = max(100 * width / longest, 0.4) if width else 0.0
        bars.append((round(min(100 * start / longest, 100 - drawn), 3), round(drawn, 3)))
    return {"funnel": funnel, "steps": list(zip(funnel.steps, bars, strict=True)), "first": longest}


def _audit_views(content: ReportContent) -> list[dict]:
    """Audits with the address of each in the page, and its drawings."""
    views: list[dict] = []
    for number, audit in enumerate(sorted(content.audits, key=verdict.gravity), start=1):
        address = "audit-" + (re.sub(r"[^a-z0-9]+", "-", audit.name.lower()).strip("-") or str(number))
        if any(view["id"] == address for view in views):
            address = f"{address}-{number}"
        drawings = [
            (drawn.title, _drawing(chart(drawn, f"{address}-chart-{place}")))
            for place, drawn in enumerate(audit.charts, start=1)
            if any(line.x for line in drawn.lines)
        ]
        views.append(
            {
                "audit": audit,
                "id": address,
                "figures": drawings,
                "wide": [table for table in audit.tables if _is_wide(table)],
            }
        )
    return views


def _is_wide(table: Table) -> bool:
    """Whether a table needs the whole width of the page; the names of its rows may be broken."""
    # a heading is broken between its words
    headings = [max(map(len, ["", *re.split(r"[\s-]", column)])) for column in table.columns]
    cells = [[len(text) for text in row] for row in table.texts]
    widths = [max(column) for column in zip(headings, *cells, strict=True)]
    return min(widths[0], _NAME) + sum(width + 2 for width in widths[1:]) > _HALF


def _slice_views(content: ReportContent) -> list[dict]:
    """Slices with their drawings; one bucket alone, beside those of one user, needs none."""
    rows = wording_evaluation.slice_rows(content.leaderboard)
    views = []
    for number, view in enumerate(wording_evaluation.slice_views(content), start=1):
        found = wording_evaluation.slice_chart(view, rows)
        has_points = any(len(line.x) > 1 for line in found.lines)
        drawing = _drawing(chart(found, f"slice-{number}-chart")) if has_points else None
        views.append({"slice": view, "drawing": drawing})
    return views


def _generation_figures(content: ReportContent) -> list[tuple[str, Markup]]:
    """Drawings of the section on generation, with their titles."""
    if not content.generation:
        return []
    generated = {one.codes for one in content.generation}
    books = words_of_generation.book_chart([report for report in content.codes if report.name in generated])
    charts = [books, *words_of_generation.width_charts(content.generation)]
    return [
        (drawn.title, _drawing(chart(drawn, f"generation-chart-{place}")))
        for place, drawn in enumerate(filter(None, charts), start=1)
    ]


def _beyond_accuracy_figures(content: ReportContent) -> list[tuple[str, Markup]]:
    """Drawings of the section on goals beyond accuracy, with their titles."""
    if content.beyond_accuracy is None:
        return []
    found = content.beyond_accuracy.trade_offs
    charts = [words_beyond_accuracy.chart(found, goal) for goal in words_beyond_accuracy.goals(found)]
    return [
        (drawn.title, _drawing(chart(drawn, f"beyond-accuracy-chart-{place}")))
        for place, drawn in enumerate(charts, start=1)
    ]


def _what_helps_figures(content: ReportContent) -> dict[str, tuple[str, Markup]]:
    """The drawing of each family of the section on what helps, with its title."""
    if content.what_helps is None:
        return {}
    found = content.what_helps
    charts = {family: words_what_helps.chart(found, family) for family in words_what_helps.families(found)}
    return {
        family: (drawn.title, _drawing(chart(drawn, f"what-helps-chart-{place}")))
        for place, (family, drawn) in enumerate(charts.items(), start=1)
    }


def _folds_figure(content: ReportContent) -> tuple[str, Markup] | None:
    """The drawing of the section on temporal folds, with its title."""
    if content.folds is None:
        return None
    drawn = words_folds.chart(content.folds)
    return drawn.title, _drawing(chart(drawn, "folds-chart"))


def _answers_figure(content: ReportContent) -> tuple[str, Markup] | None:
    """The drawing of the section on the answers of language models, with its title."""
    drawn = words_of_answers.chart(content.answers)
    return None if drawn is None else (drawn.title, _drawing(chart(drawn, "answers-chart")))


def _over_time_figures(content: ReportContent) -> list[tuple[str, Markup]]:
    """Drawings of the section on results over time, with their titles."""
    if not content.over_time:
        return []
    charts = [words_over_time.chart(content.over_time), words_over_time.progress_chart(content.progress)]
    return [
        (drawn.title, _drawing(chart(drawn, f"over-time-chart-{place}")))
        for place, drawn in enumerate(filter(None, charts), start=1)
    ]


def _drawing(plot: plots.Plot) -> Markup:
    """A drawing as a part of the page; it has escaped the text that it was given."""
    return Markup(plot.svg())


def _checks_view(checks: tuple[Check, ...]) -> dict:
    """Checks by asset (name, number, failed), the failed ones, and all of them."""
    by_asset: dict[str, list[Check]] = {}
    for check in sorted(checks, key=lambda check: (check.asset, check.name)):
        by_asset.setdefault(check.asset, []).append(check)
    return {
        "assets": [(asset, found, [c for c in found if not c.passed]) for asset, found in by_asset.items()],
        "failed": [check for found in by_asset.values() for check in found if not check.passed],
        "all": [check for found in by_asset.values() for check in found],
    }


def _figures(content: ReportContent, run: RunFacts | None) -> Mapping[str, Markup]:
    """SVG by name of the plots that stand in the page (leaderboard and funnel are drawn in their tables)."""
    drawn = [
        plots.validation_curves(content.training) if content.training else None,
        plots.loss_curves(content.training) if content.training else None,
        plots.history_lengths(content.history_lengths) if content.history_lengths else None,
        plots.quality_by_size(content),
        plots.quality_by_time(content, run.fit_seconds) if run else None,
    ]
    return {plot.name: _drawing(plot) for plot in drawn if plot is not None}
