"""The report as one HTML file that needs nothing beside it: no script, no font, no image from elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ml.data.files import atomic_file
from ml.reports import plots, wording
from ml.reports.content import (
    HEADLINE,
    Check,
    Funnel,
    Leaderboard,
    ReportContent,
    RunFacts,
)
from ml.reports.text import visible

_TEMPLATES = Path(__file__).parent / "templates"


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
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
        keep_trailing_newline=True,
    )
    environment.globals.update(
        wording=wording, metric_name=wording.metric_name, count=wording.count, percent=wording.percent
    )
    environment.filters["breakable"] = _breakable
    template = environment.get_template("report.html.j2")
    return template.render(
        content=content,
        run=run,
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        board=_board_view(content.leaderboard),
        funnels=[_funnel_view(funnel) for funnel in content.funnels],
        checks=_checks_view(content.checks),
        figures=_figures(content, run),
        headline=HEADLINE,
    )


def _breakable(name: str) -> Markup:
    """A name, escaped, that may be broken after an underscore or a slash."""
    return Markup(re.sub(r"([_/])", r"\1<wbr>", str(escape(visible(name)))))


def _visible(value: object) -> object:
    """What Jinja prints of an expression, before it is escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


@dataclass(frozen=True)
class _Mark:
    """A dot and its interval on a common scale, as percentages of the width."""

    at: float
    low: float | None
    high: float | None


def _board_view(board: Leaderboard) -> dict:
    """Leaderboard as the template prints it: the scale of the dots, and a mark and a finding a row."""
    estimates = [row.metrics[HEADLINE] for row in board.rows]
    longest = max([e.value for e in estimates] + [e.high for e in estimates if e.high is not None], default=0.0)
    full = (longest or 1.0) * 1.04
    reference = board.reference

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * max(value, 0.0) / full, 2)

    rows = []
    for row in board.rows:
        estimate = row.metrics[HEADLINE]
        mark = _Mark(place(estimate.value), place(estimate.low), place(estimate.high))
        rows.append({"row": row, "mark": mark, "finding": wording.finding(row)})
    return {
        "rows": rows,
        "side": wording.side_metrics(board),
        "metrics": wording.metrics_of(board),
        "ticks": [(round(100 * tick / full, 2), label) for tick, label in _ticks(full)],
        "reference": place(reference.metrics[HEADLINE].value) if reference else None,
        "compared": any(row.difference is not None for row in board.rows),
        "has_intervals": any(estimate.low is not None for estimate in estimates),
    }


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
    # the drawing escapes the text that it is given
    return {plot.name: Markup(plot.svg()) for plot in drawn if plot is not None}
