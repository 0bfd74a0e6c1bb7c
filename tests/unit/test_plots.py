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
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from report_contents import board, made_up_content, row

from ml.reports import plots
from ml.reports.content import Funnel, FunnelStep, TrainingCurve

NAMES = ("leaderboard", "funnel-reviews", "validation", "loss", "history-lengths", "quality-size", "quality-time")


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


def test_equal_content_gives_equal_bytes_in_another_process():
    here = digest_of_all()
    code = "import test_plots; print(test_plots.digest_of_all())"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.path.dirname(__file__), "TZ": "Asia/Tokyo"}
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


@pytest.mark.parametrize("name", NAMES)
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
    (title,) = (text for text in texts(svg) if text.startswith("Long"))
    assert len(title) == 34
    assert title.endswith("…")


def test_the_leaderboard_has_the_best_on_top(drawings):
    root = ElementTree.fromstring(drawings["leaderboard"])
    heights = {"".join(text.itertext()): float(text.attrib["y"]) for text in root.iter("text")}
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


def test_names_at_the_ends_of_curves_do_not_lie_on_one_another():
    curves = tuple(TrainingCurve(f"Model {n}", "softmax", (1, 2), (2.0, 1.0), (0.1, 0.1001), 2) for n in range(6))
    root = ElementTree.fromstring(plots.validation_curves(curves).svg())
    heights = sorted(
        float(text.attrib["y"]) for text in root.iter("text") if "".join(text.itertext()).startswith("Model")
    )
    assert len(heights) == 6
    assert min(later - earlier for earlier, later in pairwise(heights)) > 9.5


def test_every_user_is_in_a_bar_of_the_histogram():
    from matplotlib.figure import Figure

    from ml.reports.drawing import _PNG_COLOURS

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
