"""The plots of a report: the same each time, without colours of their own in the page, and without surprises."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import pytest
import report_audits
from costs import others_slow
from report_contents import board, made_up_content, row

from ml.reports.content.report import Estimate, Funnel, FunnelStep, ReportContent, SliceRow, TrainingCurve
from ml.reports.render.html import render_html
from ml.reports.render.plots import report as plots
from ml.reports.render.plots.chart import chart
from ml.reports.words import evaluation as wording_evaluation
from ml.tables import Chart, Line

NAMES = ("leaderboard", "funnel-reviews", "validation", "loss", "history-lengths", "quality-size", "quality-time")
NAMES += ("ties", "calibration", "cuts", "groups")


# eight lines over three short names: side by side is lower than one below another
UPRIGHT = Chart(
    "By group",
    "group",
    "nDCG@10",
    tuple(Line(f"Line {n}", ("head", "middle", "tail"), (0.1 * n, 0.2, -0.1)) for n in range(8)),
)


def all_plots() -> dict[str, plots.Plot]:
    content = made_up_content()
    drawn = (
        plots.leaderboard(content.leaderboard),
        plots.funnel(content.funnels[0]),
        plots.validation_curves(content.training),
        plots.loss_curves(content.training),
        plots.history_lengths(content.history_lengths),
        plots.quality_by_size(content),
        plots.quality_by_time(content, {"tower": 130.0, "small": 12.0, "chain": 0.1}),
        chart(report_audits.ties().charts[0], "ties"),
        chart(report_audits.calibration().charts[0], "calibration"),
        chart(report_audits.shortcuts().charts[0], "cuts"),
        chart(UPRIGHT, "groups"),
    )
    return {plot.name: plot for plot in drawn}


@pytest.fixture(scope="module")
def drawings() -> dict[str, str]:
    return {name: plot.svg() for name, plot in all_plots().items()}


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()).strip() for text in ElementTree.fromstring(svg).iter("text")]


def digest_of_all() -> str:
    digest = hashlib.sha256()
    for plot in all_plots().values():
        digest.update(plot.svg().encode())
        digest.update(plot.png())
    return digest.hexdigest()


@pytest.mark.slow
def test_equal_content_gives_equal_bytes_in_another_process():
    here = digest_of_all()
    code = "import test_plots; print(test_plots.digest_of_all())"
    # helpers of the tests are imported from where they are here
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path), "TZ": "Asia/Tokyo"}
    there = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_every_plot_is_there(drawings):
    assert tuple(drawings) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_is_an_element_without_size_and_with_a_title(name, drawings):
    root = ElementTree.fromstring(drawings[name])
    assert root.tag == "svg"
    assert "width" not in root.attrib
    assert re.fullmatch(r"0 0 [\d.]+ [\d.]+", root.attrib["viewBox"])
    assert root.attrib["role"] == "img"
    labels = {child.attrib["id"]: child.text for child in root if child.tag in ("title", "desc")}
    assert list(labels) == root.attrib["aria-labelledby"].split()
    assert all(labels.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_takes_every_colour_and_font_from_the_page(name, drawings):
    svg = drawings[name]
    used = set(re.findall(r"(?:fill|stroke|color): ([^;\"]+)", svg))
    assert used <= {"none", "currentColor"} | {colour for colour in used if colour.startswith("var(--")}
    assert not re.search(r"#[0-9a-fA-F]{6}\b", svg)
    assert "font-family" not in svg
    assert "DejaVu" not in svg
    for left in ("<metadata", "<style", "<?xml", "<!DOCTYPE", "xlink", "matplotlib v"):
        assert left not in svg


def test_drawings_share_no_id_and_refer_to_their_own(drawings):
    ids = [found for svg in drawings.values() for found in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    for svg in drawings.values():
        own = set(re.findall(r'\bid="([^"]+)"', svg))
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= own


# of all as SVG, above
@pytest.mark.parametrize("name", others_slow(NAMES, *NAMES[::6]))
def test_a_png_shows_something_on_white(name):
    from PIL import Image

    image = Image.open(io.BytesIO(all_plots()[name].png())).convert("RGB")
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert len(image.getcolors(1 << 24)) > 20
    assert image.width > 600


def test_a_plot_in_markdown_needs_no_file():
    plot = replace(all_plots()["loss"], title="a](b) <c>")
    text = plots.markdown_image(plot)
    assert text.startswith(r"![a\](b) &lt;c&gt;](data:image/png;base64,iVBOR")
    assert text.endswith(")")


def test_text_of_the_data_is_text():
    hostile = "$x^2$ <b>&amp; \x00\u202e"
    svg = plots.leaderboard(board(row(hostile, True, 0.05))).svg()
    assert "$x^2$ <b>&amp; \\x00\\u202e" in texts(svg)


def test_a_character_that_no_font_has_is_no_noise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = plots.leaderboard(board(row("\u6728\U0001f58a", True, 0.05))).svg()
    assert "\u6728\U0001f58a" in texts(svg)


def test_a_long_title_is_cut():
    svg = plots.leaderboard(board(row("long " * 40, False, 0.05))).svg()
    first, second = (text for text in texts(svg) if text.lower().startswith("long"))
    assert max(len(first), len(second)) <= 34
    assert not first.endswith("…")
    assert second.endswith("…")


def test_the_leaderboard_has_the_best_on_top(drawings):
    root = ElementTree.fromstring(drawings["leaderboard"])
    heights = {"".join(text.itertext()): float(text.attrib["y"]) for text in root.iter("text") if "y" in text.attrib}
    assert heights["Tower"] < heights["Chain"] < heights["Small"] < heights["Popular"]


def test_bars_of_a_funnel_hang_together():
    steps = (
        FunnelStep("read", 100, "stage"),
        FunnelStep("rejected", 10, "removed"),
        FunnelStep("duplicates", 20, "removed"),
        FunnelStep("identical", 15, "of which"),
        FunnelStep("kept", 70, "stage"),
        FunnelStep("training", 60, "part"),
        FunnelStep("test", 10, "part"),
    )
    bars = plots.funnel_bars(Funnel("reviews", "line", steps))
    assert bars == [(0, 100), (90, 10), (70, 20), (70, 15), (0, 70), (0, 60), (60, 10)]


def test_a_curve_without_validation_is_left_out_and_one_epoch_is_enough():
    none = TrainingCurve("Blind", "softmax", (1, 2), (2.0, 1.0), (None, None), 2)
    once = TrainingCurve("Once", "softmax", (1,), (2.0,), (0.1,), 1)
    assert "Blind" not in texts(plots.validation_curves((none, once)).svg())
    assert "Once" in texts(plots.validation_curves((none, once)).svg())
    assert "Blind" in texts(plots.loss_curves((none,)).svg())
    assert plots.validation_curves((none,)).svg()


def test_names_of_curves_do_not_lie_on_one_another():
    curves = tuple(TrainingCurve(f"Model {n}", "softmax", (1, 2), (2.0, 1.0), (0.1, 0.1001), 2) for n in range(7))
    root = ElementTree.fromstring(plots.validation_curves(curves).svg())
    places = [
        (float(text.attrib["x"]), float(text.attrib["y"]))
        for text in root.iter("text")
        if "".join(text.itertext()).startswith("Model")
    ]
    assert len(places) == 7
    for (x, y), (other_x, other_y) in combinations(places, 2):
        assert abs(y - other_y) > 9.5 or abs(x - other_x) > 60


def test_every_user_is_in_a_bar_of_the_histogram():
    from matplotlib.figure import Figure

    from ml.reports.render.plots.drawing import _PNG_COLOURS

    lengths = tuple((length, 1000 // length) for length in range(2, 400))
    figure = Figure()
    plots.history_lengths(lengths).draw(figure, _PNG_COLOURS)
    bars = figure.axes[0].patches
    assert sum(bar.get_height() for bar in bars) == sum(number for _, number in lengths)
    assert len(bars) <= 42
    assert "399" in figure.axes[0].get_xlabel()


def test_one_length_of_history_is_one_bar():
    assert "5" in texts(plots.history_lengths(((5, 10),)).svg())


def test_quality_needs_two_models_to_compare():
    content = made_up_content()
    assert plots.quality_by_time(content, {"tower": 130.0, "chain": 0.1}) is None
    assert plots.quality_by_size(replace(content, leaderboard=board(row("chain", False, 0.05)))) is None


# --- charts of audits


def drawn(one: Chart):
    """The axes of a chart, and its legend."""
    from matplotlib.figure import Figure

    from ml.reports.render.plots.drawing import _PNG_COLOURS

    figure = Figure()
    chart(one, "x").draw(figure, _PNG_COLOURS)
    return figure.axes[0], figure.legends


def markers(axes) -> list[tuple[float, float]]:
    return [
        (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() not in ("None", None)
    ]


def test_names_lie_one_below_another_with_the_dots_of_one_side_by_side():
    one = Chart(
        "T", "rule", "nDCG@10", (Line("a", ("file", "hash"), (0.1, 0.2)), Line("b", ("file", "hash"), (0.3, 0.1)))
    )
    axes, legends = drawn(one)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["file", "hash"]
    assert axes.yaxis_inverted(), "the first is on top"
    found = markers(axes)
    assert [x for x, _ in found] == [0.1, 0.2, 0.3, 0.1]
    heights = [y for _, y in found]
    assert heights[0] < heights[2] < 0.5 < heights[1] < heights[3]
    assert [text.get_text() for text in legends[0].get_texts()] == ["a", "b"]
    assert axes.get_xlim()[0] == 0


def test_names_stand_side_by_side_where_that_is_lower():
    axes, _ = drawn(UPRIGHT)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["head", "middle", "tail"]
    assert axes.get_ylim()[0] < 0, "what is negative is seen"
    places = sorted(x for x, _ in markers(axes))
    assert len(set(places)) == 24, "no dot hides another"
    assert -0.5 < places[0] < places[-1] < 2.5


def test_no_two_of_twelve_lines_look_alike():
    lines = tuple(Line(f"l{n}", (1.0, 2.0), (n, n)) for n in range(12))
    _, legends = drawn(Chart("T", "x", "y", lines))
    looks = {(h.get_marker(), h.get_color(), h.get_markerfacecolor()) for h in legends[0].legend_handles}
    assert len(looks) == 12


def test_bounds_are_bars_and_unknown_values_are_left_out():
    line = Line("a", (1.0, 2.0, 3.0), (0.2, float("nan"), 0.4), (0.1, 0.1, 0.4), (0.3, 0.3, 0.4))
    axes, legends = drawn(Chart("T", "x", "y", (line,)))
    assert legends == []
    assert markers(axes)[-2:] == [(1.0, 0.2), (3.0, 0.4)]
    bars = [tuple(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 2 and line.get_xdata()[0] == 1.0]
    assert (0.1, 0.3) in bars


def test_a_wide_axis_of_numbers_is_logarithmic_and_a_diagonal_is_not():
    far = (Line("a", (1, 2, 5, 100), (0.1, 0.2, 0.3, 0.4)),)
    axes, _ = drawn(Chart("T", "x", "y", far))
    assert axes.get_xscale() == "log"
    assert [float(tick) for tick in axes.get_xticks()] == [1, 2, 5, 100]
    axes, _ = drawn(Chart("T", "x", "y", far, diagonal=True))
    assert axes.get_xscale() == "linear"
    assert any(tuple(line.get_xdata()) == tuple(line.get_ydata()) for line in axes.lines)


def test_a_chart_is_described_in_words():
    few = chart(Chart("T", "rule", "nDCG@10", (Line("a", ("file", "hash"), (0.1, 0.25)),)), "x").description
    assert few == "nDCG@10 by rule. a: file 0.1000, hash 0.2500."
    many = Line("a", tuple(map(float, range(50))), tuple(map(float, range(50))))
    assert chart(Chart("T", "x", "y", (many,)), "x").description == "y by x. a: 0 0.0000, 49 49.0000."


def test_many_models_are_numbered_and_their_losses_stand_in_two_columns():
    rows = [row(f"model{n}", True, 0.06 - 0.002 * n, parameters=10 ** (n + 1)) for n in range(7)]
    content = replace(made_up_content(), leaderboard=board(*rows))
    found = texts(plots.quality_by_size(content).svg())
    assert {str(n) for n in range(1, 8)} <= set(found)
    assert "Model0" not in found
    curves = tuple(TrainingCurve(f"Model {n}", "softmax", (1, 2), (2.0, 1.0), (0.1, 0.2), 2) for n in range(7))
    losses = ElementTree.fromstring(plots.loss_curves(curves).svg())
    places = {"".join(text.itertext()): float(text.attrib["x"]) for text in losses.iter("text") if "x" in text.attrib}
    assert places["Model 0"] < places["Model 1"]
    assert places["Model 0"] == places["Model 6"]


def test_probabilities_stand_on_logarithmic_axes_as_they_are():
    line = Line("Model", (0.3, 0.02, 0.001), (0.2, 0.03, 0.002), (0.1, 0.02, 0.001), (0.3, 0.05, 0.004))
    found = chart(Chart("Calibration", "predicted", "observed", (line,), diagonal=True, logarithmic=True), "c").svg()
    assert all(f">{tick}<" in found for tick in ("0.01", "0.1"))
    assert "−1" not in found


def test_a_bucket_of_one_user_is_not_drawn():
    rows = (row("tower", True, 0.06),)
    one, many = (
        SliceRow("history", label, place, users, "tower", estimate, 0.1)
        for place, (label, users, estimate) in enumerate(
            (("50 or more", 1, Estimate(0.0)), ("2", 90, Estimate(0.1, 0.05, 0.15))), start=1
        )
    )
    content = ReportContent("X", board(*rows), slices=(one, many))
    (view,) = wording_evaluation.slice_views(content)
    (line,) = wording_evaluation.slice_chart(view, rows).lines
    assert line.x == ("2",)
    assert "50 or more" in render_html(content)
    assert 'id="slice-1-chart' not in render_html(content)
