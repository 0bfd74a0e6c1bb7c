"""The page on one decision on a release."""

from __future__ import annotations

from markupsafe import Markup

from ml.release.gate.decision import Decision
from ml.reports.render.environment import TEMPLATES, environment
from ml.reports.words import release as words


def decision_page(decision: Decision, dataset: str, when: str = "") -> str:
    """A self-contained HTML page.

    Args:
        decision: with the measurements of time.
        dataset: its name.
        when: it was made, as text.
    """
    page = environment()
    page.globals.update(releasing=words)
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return page.get_template("decision.html.j2").render(decision=decision, dataset=dataset, when=when, style=style)
