"""A drawing that is made once and shown twice: as SVG in the page, as PNG in the Dagster UI.

The SVG takes every colour from the style sheet of the page that it stands in, so that it is right in dark mode
and in print, holds text as text, and is byte-identical for equal content. Needs matplotlib, imported on the
first drawing.
"""

from __future__ import annotations

import base64
import io
import re
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ml.extras import missing, remedy
from ml.reports.render.text import escape_markdown, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, darkened where they are too pale for a line on white; any colour vision tells them apart.
SERIES = ("#0072b2", "#d55e00", "#007d59", "#a8487f", "#8a6d00", "#4a5a8c")
# colour is never the only difference between two lines
DASHES = ((), (5, 1.5), (1.2, 1.2), (6, 1.5, 1.2, 1.5), (3, 1), (8, 2))
MARKERS = "osD^vP"
_POINT = 9.5  # of text; the page shows a drawing at 1 to 1.4 times its own size


@dataclass(frozen=True)
class Colours:
    """What a drawing is painted with: the page, text, the quiet parts, and one colour a series."""

    paper: str
    ink: str
    muted: str
    grid: str
    accent: str
    pale: str
    series: tuple[str, ...]


_PNG_COLOURS = Colours("#ffffff", "#1c2024", "#5b636b", "#d9dde1", SERIES[0], "#4495c8", SERIES)
# Stand-ins that matplotlib writes into the SVG as they are, and what the style sheet defines for each.
_SVG_COLOURS = Colours(
    "#010100",
    "#010101",
    "#010102",
    "#010103",
    "#010104",
    "#010105",
    tuple(f"#01020{n}" for n in range(len(SERIES))),
)
_STYLE_SHEET = {
    _SVG_COLOURS.paper: "var(--paper)",
    _SVG_COLOURS.ink: "currentColor",
    _SVG_COLOURS.muted: "var(--muted)",
    _SVG_COLOURS.grid: "var(--rule)",
    _SVG_COLOURS.accent: "var(--accent)",
    _SVG_COLOURS.pale: "var(--part-2)",
    **{colour: f"var(--series-{n})" for n, colour in enumerate(_SVG_COLOURS.series, start=1)},
}


@dataclass(frozen=True)
class Plot:
    """A drawing that has not been made yet.

    Attributes:
        name: short, unique in a page; letters, digits and hyphens.
        title: what it shows.
        description: what there is to see in it, for those who cannot see it.
        inches: width and height.
        draw: fills a figure, in the colours it is given.
    """

    name: str
    title: str
    description: str
    inches: tuple[float, float]
    draw: Callable[[Figure, Colours], None]

    def svg(self) -> str:
        """An ``<svg>`` element to stand in an HTML page: no width, colours from its style sheet, own ids."""
        return self._for_page(self._render("svg", _SVG_COLOURS).decode())

    def png(self, dots_per_inch: int = 144) -> bytes:
        """PNG on white."""
        return self._render("png", _PNG_COLOURS, dots_per_inch)

    def _render(self, kind: str, colours: Colours, dots_per_inch: int = 72) -> bytes:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        settings: dict[Any, Any] = {
            "svg.fonttype": "none",
            "svg.hashsalt": self.name,
            "font.family": "DejaVu Sans",
            "font.size": _POINT,
            "text.color": colours.ink,
            # titles of a dataset are no formulas
            "text.parse_math": False,
            "axes.facecolor": "none",
            "axes.edgecolor": colours.muted,
            "axes.labelcolor": colours.muted,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.8,
            "axes.titlesize": _POINT,
            "axes.titlelocation": "left",
            "axes.formatter.use_mathtext": False,
            "axes.axisbelow": True,
            "figure.facecolor": colours.paper,
            "figure.constrained_layout.h_pad": 0.06,
            "figure.constrained_layout.w_pad": 0.06,
            "xtick.color": colours.muted,
            "ytick.color": colours.muted,
            "grid.color": colours.grid,
            "grid.linewidth": 0.8,
        }
        buffer = io.BytesIO()
        with rc_context(settings), warnings.catch_warnings():
            # a page draws a title in a font of its own; only the PNG may lack a character
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure = Figure(figsize=self.inches, layout="constrained")
            if kind == "svg":
                figure.patch.set_visible(False)
            self.draw(figure, colours)
            metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
            figure.savefig(buffer, format=kind, dpi=dots_per_inch, metadata=metadata)
        return buffer.getvalue()

    def _for_page(self, svg: str) -> str:
        """An SVG file as an element of a page that holds several."""
        name = self.name
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
        svg = re.sub(r"<defs>\s*</defs>", "", svg)
        svg = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', svg)
        svg = re.sub(r'\bxlink:href="#', f'href="#{name}-', svg)
        svg = svg.replace("url(#", f"url(#{name}-")
        for stand_in, colour in _STYLE_SHEET.items():
            svg = svg.replace(stand_in, colour)
        # the page's font, not the one that the drawing was measured with
        svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
        svg = re.sub(r"font-family: [^;\"]*;?\s*", "", svg)
        (view_box,) = re.findall(r'viewBox="([\d. -]*)"', svg)[:1]
        opening = (
            f'<svg class="plot" viewBox="{view_box}" role="img" aria-labelledby="{name}-title {name}-desc">'
            f'<title id="{name}-title">{escape(visible(self.title))}</title>'
            f'<desc id="{name}-desc">{escape(visible(self.description))}</desc>'
        )
        return re.sub(r"\n\s*", "\n", opening + svg[svg.index(">") + 1 :]).strip()


def png_data_uri(png: bytes) -> str:
    """PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def markdown_image(plot: Plot) -> str:
    """The drawing as a Markdown image that needs no file beside it; its description where matplotlib is missing."""
    if module := missing("report", ["matplotlib"]):
        return escape_markdown(f"{plot.title}. {plot.description} Not drawn: {remedy('report', module)}.")
    return f"![{escape_markdown(plot.title)}]({png_data_uri(plot.png())})"


def in_lines(text: str, characters: int) -> str:
    """Text in two lines of so many characters at most."""
    lines = textwrap.wrap(visible(text), characters)
    if len(lines) > 2:
        lines = [lines[0], short(" ".join(lines[1:]), characters)]
    return "\n".join(lines)


def short(text: str, most: int = 34) -> str:
    """Text that fits beside a drawing."""
    text = visible(text)
    return text if len(text) <= most else text[: most - 1] + "…"
