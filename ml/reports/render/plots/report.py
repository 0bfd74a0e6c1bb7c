"""The plots of a report: each a function from content to a drawing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ml import number_format as numbers
from ml.evaluation.metrics import metric_name
from ml.reports.content.report import HEADLINE, Funnel, Leaderboard, ReportContent, TrainingCurve
from ml.reports.render.plots.drawing import (
    DASHES,
    MARKERS,
    SERIES,
    Colours,
    Plot,
    in_lines,
    markdown_image,
    png_data_uri,
    short,
)
from ml.reports.words import wording

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Plot",
    "funnel",
    "funnel_bars",
    "history_lengths",
    "leaderboard",
    "loss_curves",
    "markdown_image",
    "png_data_uri",
    "quality_by_size",
    "quality_by_time",
    "validation_curves",
]

_PANELS = 4  # more stand in two columns
_LEGEND = 22  # characters of a name that has another beside it in the legend
_TITLE = 34  # characters of a line of a name beside the leaderboard
_NAMED = 2  # points with a name beside them; of more the rank on the leaderboard stands there
_DASHED = (0, (3, 2))


def leaderboard(board: Leaderboard) -> Plot:
    """The headline metric of every recommender as a dot with its interval, best on top."""
    rows = board.rows[::-1]
    name = metric_name(HEADLINE)

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            estimate = row.headline
            colour = colours.accent if row.trained else colours.muted
            if estimate.low is not None and estimate.high is not None:
                axes.plot([estimate.low, estimate.high], [place, place], color=colour, lw=2)
            inside = colour if row.trained else colours.paper
            axes.plot([estimate.value], [place], "o", color=colour, ms=6, mfc=inside, mew=1.6)
        if board.reference is not None:
            best = board.reference[HEADLINE]
            axes.axvline(best, color=colours.muted, lw=0.8, ls=_DASHED, zorder=0)
        axes.set_yticks(range(len(rows)), [in_lines(row.title, _TITLE) for row in rows], color=colours.ink)
        for label in axes.get_yticklabels():
            label.set_multialignment("right")
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(left=0)
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{name} with 95 % interval\nfilled: trained; dashed: the best training-free")

    described = "; ".join(f"{row.title} {numbers.metric_value(row[HEADLINE])}" for row in board.rows)
    height = 1.05 + 0.32 * max(len(rows), 1)
    return Plot("leaderboard", f"{name} by recommender", described, (7.0, height), draw)


def funnel(funnel: Funnel) -> Plot:
    """Rows left at each stage, and what was taken out before it."""
    steps = funnel.steps[::-1]
    bars = funnel_bars(funnel)[::-1]

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.subplots()
        painted = {"stage": colours.accent, "part": colours.pale}
        for place, (step, (start, width)) in enumerate(zip(steps, bars, strict=True)):
            axes.barh(place, width, left=start, height=0.62, color=painted.get(step.role, colours.muted))
            end = (start + width, place)
            axes.annotate(numbers.count(step.rows), end, (4, 0), textcoords="offset points", va="center_baseline")
        labels = [short(wording.funnel_label(step)) for step in steps]
        axes.set_yticks(range(len(steps)), labels, color=colours.ink)
        axes.set_xlim(0, max([1, *(step.rows for step in steps)]) * 1.15)
        axes.xaxis.set_visible(False)
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)

    described = "; ".join(f"{step.label} {numbers.count(step.rows)}" for step in funnel.steps)
    title = f"From raw {funnel.source} to what is used"
    return Plot(f"funnel-{funnel.source}", title, described, (7.0, 0.4 + 0.3 * len(steps)), draw)


def funnel_bars(funnel: Funnel) -> list[tuple[int, int]]:
    """Start and width of the bar of each step, in rows.

    A stage starts at 0; what was removed from it hangs at its end, so that the next stage is what is left of
    it; parts stand end to end under their stage.
    """
    bars: list[tuple[int, int]] = []
    left = placed = inside = 0
    for step in funnel.steps:
        if step.role == "stage":
            left, placed = step.rows, 0
            bars.append((0, step.rows))
        elif step.role == "removed":
            left -= step.rows
            inside = left
            bars.append((left, step.rows))
        elif step.role == "of which":
            bars.append((inside, step.rows))
            inside += step.rows
        else:
            bars.append((placed, step.rows))
            placed += step.rows
    return bars


def validation_curves(curves: tuple[TrainingCurve, ...]) -> Plot:
    """The headline metric on the validation users by epoch, all models on one scale."""
    name = metric_name(HEADLINE)
    measured = [(place, curve) for place, curve in enumerate(curves) if any(v is not None for v in curve.validation)]

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.subplots()
        for place, curve in measured:
            points = [(e, v) for e, v in zip(curve.epochs, curve.validation, strict=True) if v is not None]
            epochs, values = zip(*points, strict=True)
            _line(axes, epochs, values, place, colours)
            if curve.best_epoch is not None and curve.kept_validation is not None:
                _mark(axes, curve.best_epoch, curve.kept_validation, place, colours)
        axes.set_ylim(bottom=0)
        _epoch_axis(axes, curves)
        axes.grid(axis="y")
        axes.set_xlabel("epoch; a marker is the epoch that was kept")
        if measured:
            _legend(figure, measured, colours)

    kept = [(curve.title, curve.kept_validation) for curve in curves]
    described = "; ".join(
        f"{title}: {numbers.metric_value(value)} at the kept epoch" for title, value in kept if value is not None
    )
    height = 3.1 + 0.19 * -(-len(measured) // _legend_columns(measured))
    return Plot("validation", f"Validation {name} by epoch", described, (4.4, height), draw)


def loss_curves(curves: tuple[TrainingCurve, ...]) -> Plot:
    """Training loss by epoch: a panel a model, since losses of different objectives have no common scale."""
    across = 1 if len(curves) <= _PANELS else 2
    lines = -(-len(curves) // across)

    def draw(figure: Figure, colours: Colours) -> None:
        grid = figure.subplots(lines, across, sharex=True, squeeze=False)
        panels = grid.ravel()
        for empty in panels[len(curves) :]:
            empty.set_axis_off()
        for place, (axes, curve) in enumerate(zip(panels, curves, strict=False)):
            _line(axes, curve.epochs, curve.loss, place, colours)
            if curve.best_epoch in curve.epochs:
                kept = curve.loss[curve.epochs.index(curve.best_epoch)]
                _mark(axes, curve.best_epoch, kept, place, colours)
            axes.set_title(short(curve.title, 48 // across), color=colours.series[place % len(SERIES)])
            axes.grid(axis="y")
            axes.locator_params(axis="y", nbins=3)
        _epoch_axis(panels[0], curves)
        figure.supxlabel("epoch; each panel has its own scale", fontsize="medium", color=colours.muted)

    described = "; ".join(
        f"{curve.title} ({curve.loss_name}): from {curve.loss[0]:.4g} to {curve.loss[-1]:.4g}"
        for curve in curves
        if curve.loss
    )
    height = max(3.1, 0.5 + 1.0 * lines)
    return Plot("loss", "Training loss by epoch", described, (4.4, height), draw)


def history_lengths(lengths: tuple[tuple[int, int], ...]) -> Plot:
    """Users by the length of their history; the longest hundredth of the users shares the last bar.

    Args:
        lengths: ``(interactions, users with so many)``, ascending, at least one.
    """
    users = sum(number for _, number in lengths)
    cut, seen = 0, 0
    for length, number in lengths:
        cut, seen = length, seen + number
        if seen >= 0.99 * users:
            break
    first, longest = lengths[0][0], lengths[-1][0]
    width = max(1, -(-(cut - first + 1) // 40))
    bars: dict[int, int] = {}
    for length, number in lengths:
        start = first + (min(length, cut + 1) - first) // width * width
        bars[start] = bars.get(start, 0) + number
    reach = f"; last bar: up to {numbers.count(longest)}" if longest > cut else ""

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.subplots()
        centres = [start + (width - 1) / 2 for start in bars]
        axes.bar(centres, list(bars.values()), width=0.86 * width, color=colours.accent)
        axes.set_xlim(first - 1, max(bars) + width)
        axes.set_xlabel(f"interactions of a user{reach}")
        axes.set_ylabel("users")
        axes.locator_params(axis="both", integer=True)
        axes.yaxis.set_major_formatter(lambda value, _: numbers.count(value))
        axes.grid(axis="y")
        axes.tick_params(axis="x", length=3)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)

    described = (
        f"{numbers.of(users, 'user')}; 99 in 100 have {numbers.count(cut)} interactions or fewer, the longest "
        f"history has {numbers.count(longest)}."
    )
    return Plot("history-lengths", "Users by length of history", described, (4.4, 2.7), draw)


def quality_by_size(content: ReportContent) -> Plot | None:
    """The headline metric against the number of parameters; ``None`` for fewer than two trained models."""
    sizes = {row.recommender: row["parameters"] for row in content.leaderboard.rows if row["parameters"]}
    return _quality(content.leaderboard, sizes, "quality-size", "model size", "parameters")


def quality_by_time(content: ReportContent, seconds: Mapping[str, float]) -> Plot | None:
    """The headline metric against seconds of training by recommender; ``None`` for fewer than two models."""
    return _quality(content.leaderboard, seconds, "quality-time", "training time", "seconds of training")


def _quality(board: Leaderboard, cost: Mapping[str, float], name: str, against: str, unit: str) -> Plot | None:
    rows = [row for row in board.rows if row.trained and cost.get(row.recommender, 0) > 0]
    if len(rows) < 2:
        return None
    metric = metric_name(HEADLINE)
    numbered = len(rows) > _NAMED

    def draw(figure: Figure, colours: Colours) -> None:
        from matplotlib.ticker import LogLocator, NullLocator

        axes = figure.subplots()
        for place, row in enumerate(rows):
            estimate, x = row.headline, cost[row.recommender]
            colour = colours.series[place % len(SERIES)]
            if estimate.low is not None and estimate.high is not None:
                axes.plot([x, x], [estimate.low, estimate.high], color=colour, lw=1.5)
            _mark(axes, x, estimate.value, place, colours)
            label = str(board.rows.index(row) + 1) if numbered else short(row.title)
            # of two at one place one number stands to the right and one to the left
            left = numbered and place % 2
            axes.annotate(
                label,
                (x, estimate.value),
                (-6 if left else 6, 4),
                textcoords="offset points",
                ha="right" if left else "left",
            ).set_in_layout(False)
        if board.reference is not None:
            best = board.reference[HEADLINE]
            axes.axhline(best, color=colours.muted, lw=0.8, ls=_DASHED, zorder=0)
        axes.set_xscale("log")
        costs = [cost[row.recommender] for row in rows]
        axes.set_xlim(min(costs) / 2, max(costs) * (2 if numbered else 5))
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(costs) <= 30 * min(costs) else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _: numbers.compact(value))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(axis="y")
        places = "; numbers: the rank" if numbered else ""
        axes.set_xlabel(f"{unit} (logarithmic)\ndashed: the best training-free baseline{places}")

    described = "; ".join(
        f"{row.title}: {numbers.metric_value(row[HEADLINE])} at {numbers.count(cost[row.recommender])} {unit}"
        for row in rows
    )
    return Plot(name, f"{metric} against {against}", described, (4.4, 3.1), draw)


def _line(axes: Axes, x: tuple, y: tuple, place: int, colours: Colours) -> None:
    dashes = DASHES[(place + place // len(SERIES)) % len(DASHES)]
    axes.plot(x, y, color=colours.series[place % len(SERIES)], lw=1.7, ls=(0, dashes) if dashes else "-")


def _mark(axes: Axes, x: float, y: float, place: int, colours: Colours) -> None:
    colour, marker = colours.series[place % len(SERIES)], MARKERS[(place + place // len(SERIES)) % len(MARKERS)]
    axes.plot([x], [y], marker, color=colour, ms=6, clip_on=False)


def _epoch_axis(axes: Axes, curves: tuple[TrainingCurve, ...]) -> None:
    last = max((epoch for curve in curves for epoch in curve.epochs), default=1)
    axes.set_xlim(0, max(last, 1) * 1.02)
    axes.locator_params(axis="x", integer=True)


def _legend(figure: Figure, curves: list[tuple[int, TrainingCurve]], colours: Colours) -> None:
    """The names below the drawing, each with its line and its marker."""
    from matplotlib.lines import Line2D

    columns = _legend_columns(curves)
    handles = []
    for place, curve in curves:
        number = place + place // len(SERIES)
        dashes = DASHES[number % len(DASHES)]
        style: dict[str, Any] = {"ls": (0, dashes) if dashes else "-", "marker": MARKERS[number % len(MARKERS)]}
        label = short(curve.title, 48 // columns)
        handles.append(Line2D([], [], color=colours.series[place % len(SERIES)], lw=1.7, ms=5, label=label, **style))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False, borderpad=0)


def _legend_columns(curves: list[tuple[int, TrainingCurve]]) -> int:
    """Two where the names are short."""
    return 2 if all(len(curve.title) <= _LEGEND for _, curve in curves) else 1
