"""A chart of an audit as a drawing: dots with bars over names, lines with markers over numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ml import number_format as numbers
from ml.reports.render.plots.drawing import DASHES, MARKERS, SERIES, Colours, Plot, in_lines, short
from ml.tables import Chart, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 4.4  # inches: shown at about its own size on a phone
_LABELS_ACROSS = 40  # characters of names that stand side by side below an axis
_DESCRIBED = 40  # points that are read out one by one
_TALL = 3.4  # inches: names lie down, one below another, unless that gets higher and they fit side by side
_WIDE = 20  # a horizontal axis over more than this ratio is logarithmic
_NAME = 24  # characters of a line of a name beside a drawing
_LEGEND = 26  # characters of a name that has another beside it in the legend
_FEW = 7  # places of a horizontal axis that all get a label


def chart(chart: Chart, name: str) -> Plot:
    """The drawing of a chart.

    Names give dots, those of a name side by side, with the names one below another as in a table, or side by side
    where they fit and that is lower; numbers give lines with markers. Bounds are drawn as bars.

    Args:
        chart: with at least one point.
        name: unique in a page; letters, digits and hyphens.
    """
    places = _names(chart)
    if not places:
        return Plot(name, chart.title, _described(chart), (_WIDTH, 2.7 + _legend_height(chart)), _numbers(chart))
    lying = 0.6 + len(places) * (0.16 + 0.13 * max(2, len(chart.lines)))
    fit = sum(len(short(place, 22)) + 2 for place in places) <= _LABELS_ACROSS
    height = min(lying, _TALL) if fit else lying
    draw = _upright(chart, places) if fit and lying > _TALL else _lying(chart, places)
    return Plot(name, chart.title, _described(chart), (_WIDTH, height + _legend_height(chart)), draw)


def _names(chart: Chart) -> list[str]:
    """The places of the horizontal axis in order, where they are names."""
    found = dict.fromkeys(x for line in chart.lines for x in line.x)
    return [place for place in found if isinstance(place, str)]


def _upright(chart: Chart, places: list[str]):
    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.subplots()
        _dots(axes, chart, places, colours, lying=False)
        axes.set_xticks(range(len(places)), [short(place, 22) for place in places], color=colours.ink)
        axes.set_xlim(-0.5, len(places) - 0.5)
        axes.set_xlabel(short(chart.x, 60))
        axes.set_title(in_lines(chart.y, 52), color=colours.muted)
        axes.grid(axis="y")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        _from_nothing(axes, chart, colours, lying=False)
        _legend(figure, chart, colours)

    return draw


def _lying(chart: Chart, places: list[str]):
    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.subplots()
        _dots(axes, chart, places, colours, lying=True)
        axes.set_yticks(range(len(places)), [in_lines(place, _NAME) for place in places], color=colours.ink)
        for label in axes.get_yticklabels():
            label.set_multialignment("right")
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.set_xlabel(short(chart.y, 60))
        axes.grid(axis="x")
        axes.tick_params(length=0)
        # a dot may stand on the axis
        axes.tick_params(axis="y", pad=8)
        axes.locator_params(axis="x", nbins=5)
        axes.spines["left"].set_visible(False)
        _from_nothing(axes, chart, colours, lying=True)
        _legend(figure, chart, colours)

    return draw


def _numbers(chart: Chart):
    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.subplots()
        # a chart with places by name is drawn elsewhere
        values: list[Any] = [x for line in chart.lines for x in line.x]
        for number, line in enumerate(chart.lines):
            colour, dashes = colours.series[number % len(SERIES)], DASHES[number % len(DASHES)]
            axes.plot(line.x, line.y, color=colour, lw=1.5, ls=(0, dashes) if dashes else "-")
            for x, y, low, high in _points(line):
                _dot(axes, number, (x, x), (low, high), (x, y), colours)
        if chart.diagonal:
            ends = [*values, *(y for line in chart.lines for y in line.y)]
            axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color=colours.muted, lw=0.8, ls=(0, (3, 2)))
        elif values and min(values) > 0 and max(values) > _WIDE * min(values):
            from matplotlib.ticker import NullLocator

            axes.set_xscale("log")
            places = sorted(set(values))
            if len(places) <= _FEW:
                axes.set_xticks(places)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(lambda value, _: numbers.compact(value))
        elif all(float(x).is_integer() for x in values):
            from matplotlib.ticker import MaxNLocator

            # numbers of things: there is nothing between two of them
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
            if len(set(values)) <= _FEW:
                axes.set_xticks(sorted(set(values)))
        if chart.logarithmic:
            _logarithmic(axes)
        axes.set_xlabel(short(chart.x, 60) + ("\ndashed: equal" if chart.diagonal else ""))
        axes.set_title(in_lines(chart.y, 52), color=colours.muted)
        axes.grid(axis="y")
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", length=3)
        axes.spines["left"].set_visible(False)
        if not chart.logarithmic:
            _from_nothing(axes, chart, colours, lying=False)
        _legend(figure, chart, colours)

    return draw


def _logarithmic(axes: Axes) -> None:
    """Both axes, with ticks at 1, 2 and 5 times a power of ten, written as the values that they are."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _: f"{value:g}")


def _dots(axes: Axes, chart: Chart, places: list[str], colours: Colours, lying: bool) -> None:
    """Dots of the same place side by side, with a quiet band behind every second place."""
    for place in range(1, len(places), 2):
        (axes.axhspan if lying else axes.axvspan)(place - 0.5, place + 0.5, color=colours.grid, alpha=0.35, lw=0)
    step = min(0.25, 0.76 / max(1, len(chart.lines)))
    for number, line in enumerate(chart.lines):
        shift = (number - (len(chart.lines) - 1) / 2) * step
        for x, y, low, high in _points(line):
            at = places.index(x) + shift
            if lying:
                _dot(axes, number, (low, high), (at, at), (y, at), colours)
            else:
                _dot(axes, number, (at, at), (low, high), (at, y), colours)


def _points(line: Line) -> list[tuple]:
    """Place, value and bounds of each point that is a number."""
    lows, highs = line.low or line.y, line.high or line.y
    rows = zip(line.x, line.y, lows, highs, strict=True)
    return [row for row in rows if all(math.isfinite(value) for value in row[1:])]


def _dot(axes: Axes, number: int, across: tuple, along: tuple, at: tuple, colours: Colours) -> None:
    colour = colours.series[number % len(SERIES)]
    if across[0] != across[1] or along[0] != along[1]:
        axes.plot(across, along, color=colour, lw=1.3, solid_capstyle="butt")
    axes.plot([at[0]], [at[1]], clip_on=False, zorder=3, **_marker(number, colour))


def _marker(number: int, colour: str) -> dict:
    """Shape and colour by turns; from the seventh line on hollow, so that no two of twelve look alike."""
    hollow = number // len(SERIES) % 2
    shape = MARKERS[(number + number // len(SERIES)) % len(MARKERS)]
    return {"marker": shape, "ls": "", "color": colour, "ms": 4.5, "mew": 1.2, "mfc": "none" if hollow else colour}


def _from_nothing(axes: Axes, chart: Chart, colours: Colours, lying: bool) -> None:
    """An axis of what is never negative begins at nothing; another shows where nothing is."""
    values = [value for line in chart.lines for value in (*line.y, *line.low, *line.high) if math.isfinite(value)]
    if not values or min(values) >= 0:
        (axes.set_xlim if lying else axes.set_ylim)(0)
    elif max(values) > 0:
        (axes.axvline if lying else axes.axhline)(0, color=colours.muted, lw=0.8)


def _legend(figure: Figure, chart: Chart, colours: Colours) -> None:
    if len(chart.lines) < 2:
        return
    from matplotlib.lines import Line2D

    columns = _legend_columns(chart)
    handles = [
        Line2D([], [], label=short(line.title, 52 // columns), **_marker(number, colours.series[number % len(SERIES)]))
        for number, line in enumerate(chart.lines)
    ]
    options = {"frameon": False, "handletextpad": 0.3, "borderpad": 0}
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, **options)


def _legend_columns(chart: Chart) -> int:
    """Two where the names are short."""
    return 2 if all(len(line.title) <= _LEGEND for line in chart.lines) else 1


def _legend_height(chart: Chart) -> float:
    return 0.0 if len(chart.lines) < 2 else 0.1 + 0.19 * math.ceil(len(chart.lines) / _legend_columns(chart))


def _described(chart: Chart) -> str:
    """The points of every line, or where there are many their first and last."""
    points = sum(len(line.x) for line in chart.lines)
    told = []
    for line in chart.lines:
        pairs: list[tuple[Any, float]] = list(zip(line.x, line.y, strict=True))
        if points > _DESCRIBED:
            pairs = [pairs[0], pairs[-1]] if len(pairs) > 1 else pairs
        told.append(f"{line.title}: {', '.join(f'{_place(x)} {numbers.metric_value(y)}' for x, y in pairs)}")
    return f"{chart.y} by {chart.x}. {'; '.join(told)}."


def _place(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:g}"
