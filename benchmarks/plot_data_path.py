"""Draw time and memory by number of reviews from what ``data_path.py growth`` measured.

python benchmarks/plot_data_path.py [--json benchmarks/results/growth.json] [--out docs/images/data_path_growth.svg]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

INK, MUTED, GRID, PAPER = "#1c2024", "#5b636b", "#d9dde1", "#ffffff"
# by the names that data_path.py gives: what it is called, its marker and its dashes
SHOWN = {
    "landing": ("landing, from gzip", "o", "-"),
    "models": ("cleaning, split and arrays", "s", (0, (5, 1.5))),
    "reference: numpy": ("the same, bare, in numpy", "D", (0, (1.2, 1.2))),
}


@dataclass(frozen=True)
class Point:
    """Medians at one size: seconds of the work, and bytes of memory at most."""

    reviews: int
    seconds: float
    peak: int


def points_of(results: dict) -> dict[str, list[Point]]:
    """What was measured of each thing that is shown, by ascending size."""
    points: dict[str, list[Point]] = defaultdict(list)
    for section in sorted(results["sections"], key=lambda section: section["reviews"]):
        for name in SHOWN:
            runs = [run for run in section["runs"] if run["name"] == name]
            if runs:
                seconds = statistics.median(run["seconds"] for run in runs)
                points[name].append(Point(section["reviews"], seconds, max(run["peak"] for run in runs)))
    return points


def draw(points: dict[str, list[Point]], machine: dict, out: Path) -> None:
    """Two panels on logarithmic axes; the file is the same for the same points."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from ml.reports.render.plots.drawing import SERIES

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "data-path-growth",
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": MUTED,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.axisbelow": True,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "grid.color": GRID,
        "figure.facecolor": PAPER,
    }
    with rc_context(settings):
        figure = Figure(figsize=(9.0, 3.8), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, title, value in (
            (panels[0], "Seconds", lambda point: point.seconds),
            (panels[1], "Most memory at once, GB", lambda point: point.peak / 1e9),
        ):
            for place, (name, (label, marker, dashes)) in enumerate(SHOWN.items()):
                found = points.get(name, [])
                sizes, values = [point.reviews / 1e6 for point in found], [value(point) for point in found]
                axes.plot(sizes, values, color=SERIES[place], marker=marker, ms=5, lw=1.6, ls=dashes, label=label)
            axes.set_xscale("log")
            axes.set_yscale("log")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_minor_locator(NullLocator())
                axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
            axes.grid(visible=True)
            axes.set_title(title, color=INK)
            axes.set_xlabel("million reviews")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        memory = machine["memory_bytes"] / 1e9
        figure.suptitle(f"{machine['cores']} cores, {memory:.0f} GB; both axes logarithmic", color=MUTED, fontsize=9.5)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=REPOSITORY / "benchmarks" / "results" / "growth.json")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "images" / "data_path_growth.svg")
    given = parser.parse_args()
    results = json.loads(given.json.read_text())
    draw(points_of(results), results["machine"], given.out)


if __name__ == "__main__":
    main()
