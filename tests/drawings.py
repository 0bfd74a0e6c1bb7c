"""Drawings with titles and nothing inside: for what looks at the page around them, which they make slow."""

from __future__ import annotations

import dataclasses

import pytest


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """For as long as the patch holds."""
    from ml.reports.render.plots.drawing import Plot

    render = Plot._render

    def empty(plot: Plot, *given: object) -> bytes:
        return render(dataclasses.replace(plot, draw=lambda figure, colours: None), *given)

    patch.setattr(Plot, "_render", empty)
