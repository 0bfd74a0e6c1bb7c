"""The decision on a release in the report, the model card and on a page of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report_contents import made_up_content

from ml.release.gate.bounds import BLOCKING, Bound, Limit
from ml.release.gate.decision import Decision, Released, decide
from ml.release.gate.findings import Cases, judge
from ml.reports.render.html import render_html
from ml.reports.render.markdown.model_card import model_card
from ml.reports.render.release import decision_page

pytestmark = pytest.mark.usefixtures("empty_drawings")

TITLE = "<b>New</b> | model"


def refused() -> Decision:
    """A candidate with a strange title that is worse, and slow."""
    champion = np.tile([0.0, 0.5, 1.0], 100)
    cases = Cases(champion / 2, {"champion": champion})
    bounds = [
        Bound("not_worse", "ndcg_change", Limit(at_least=-0.05, level=0.05), BLOCKING, "It matters.", "Look at it."),
        Bound("fast", "latency", Limit(at_most=5), BLOCKING, "Users wait.", "Choose another."),
    ]
    new = Released("a" * 32, "new", TITLE, "model", 10, "t", "train")
    old = Released("b" * 32, "old", "Old model", "model", 9, "s", "train")
    figures = {"latency": 2.3456, "latency_of_champion": 1.0}
    findings = judge(bounds, cases, figures, True)
    verdict, sentence = decide(new, old, findings)
    metrics = {"candidate": {"ndcg@10": 0.25}, "champion": {"ndcg@10": 0.5}}
    return Decision(verdict, sentence, new, old, ("A <note>.",), findings, metrics, {"": 300}, figures)


def test_the_page_says_what_is_broken_why_and_what_to_do() -> None:
    page = decision_page(refused(), "Shop")
    assert "not_worse (blocking): −50.0\u00a0% over 300 test users" in page
    assert "It matters. Look at it." in page
    assert "2.35\u00a0ms" in page
    assert "&lt;b&gt;New&lt;/b&gt;" in page
    assert "<b>New</b>" not in page


def test_the_report_has_a_section_without_measured_times() -> None:
    content = made_up_content()
    assert 'id="release"' not in render_html(content)
    page = render_html(replace(content, release=refused().timeless()))
    assert 'id="release"' in page
    assert 'href="release.html"' in page
    assert "not_worse (blocking)" in page
    assert "2.35\u00a0ms" not in page
    assert "&lt;b&gt;New&lt;/b&gt;" in page
    assert "A &lt;note&gt;." in page


def test_the_model_card_has_it_too() -> None:
    content = made_up_content()
    assert "### Release" not in model_card(content)
    card = model_card(replace(content, release=refused().timeless()))
    assert "### Release" in card
    assert "**Refused.**" in card
    assert "<b>New</b>" not in card
