"""Everything that the renderers print of made-up content, as files that are read when they change.

``pytest tests/unit/test_golden.py --update-golden`` writes tests/golden anew.
"""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest
import report_audits
from report_comparisons import changed_data, incomparable, nothing_changed
from report_contents import board, made_up_content, made_up_run, row, write_leaderboard

from ml.audits.audit import CANNOT_TELL, CONCERN, NO_CONCERN, NOT_APPLICABLE, NOTE
from ml.evaluation.leaderboard_text import to_text_table
from ml.reports.compare.text import to_markdown, to_text
from ml.reports.content.report import Check, ReportContent
from ml.reports.render.html import render_html
from ml.reports.render.markdown import report as markdown
from ml.reports.render.markdown.model_card import model_card
from ml.reports.words import evaluation as labels
from ml.reports.words import verdict


class PageText(HTMLParser):
    """The text of a page, a line for each block, without drawings: these are of a version of matplotlib."""

    BLOCKS = frozenset(
        ["p", "h1", "h2", "h3", "li", "tr", "caption", "figcaption", "summary", "div", "section", "title"]
    )
    SILENT = frozenset(("style", "svg"))

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self._lines = [""]
        self._silent = 0
        self.feed(text)
        self.close()

    @property
    def text(self) -> str:
        lines = (" ".join(line.split()) for line in self._lines)
        return "\n".join(line for line in lines if line) + "\n"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in self.SILENT
        if tag in self.BLOCKS:
            self._lines.append("")
        if tag in ("td", "th") and self._lines[-1]:
            self._lines[-1] += " | "
        if tag == "span":
            self._lines[-1] += " "

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in self.SILENT
        if tag in self.BLOCKS:
            self._lines.append("")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._lines[-1] += data


def test_leaderboard_on_a_terminal(golden, tmp_path):
    content = made_up_content()
    table = pq.read_table(write_leaderboard(content.leaderboard, tmp_path / "leaderboard.parquet"))
    golden("leaderboard.txt", to_text_table(table, made_up_run().fit_seconds))


def test_report_in_markdown(golden):
    golden("report.md", model_card(made_up_content(), made_up_run()))


def test_tables_of_the_report_in_the_metadata_of_assets(golden):
    content = made_up_content()
    parts = (
        markdown.report(content),
        markdown.checks(content.checks),
        markdown.rejected(content.rejected),
        markdown.examples(content.examples),
    )
    golden("metadata.md", "\n\n".join(parts) + "\n")


@pytest.mark.usefixtures("empty_drawings")
def test_report_as_a_page(golden):
    golden("report.html.txt", PageText(render_html(made_up_content(), made_up_run())).text)


@pytest.mark.parametrize("made", [changed_data, nothing_changed, incomparable])
def test_comparison(golden, made):
    golden(f"comparison_{made.__name__}.txt", to_text(made()))


def test_comparison_in_markdown(golden):
    golden("comparison_changed_data.md", to_markdown(changed_data()))


# --- the sentences of a report, situation by situation


def _content(*rows, **changes) -> ReportContent:
    test_users = changes.pop("test_users", 4000)
    return ReportContent("X", board(*rows, test_users=test_users), **changes)


def _situations() -> dict[str, ReportContent]:
    chain = row("chain", False, 0.05)
    better = row("tower", True, 0.06, 0.01)
    corrected = row(
        "tower", True, 0.06, 0.01, finding="not significantly different", p_value=0.03, p_value_adjusted=0.33
    )
    popular = row("most_popular", False, 0.02, -0.03)
    fused = row("blend", True, 0.045, -0.005, fused=True)
    whole = made_up_content()
    quiet = tuple(replace(audit, outcome=NO_CONCERN) for audit in whole.audits)
    known = {"tie_order": "file", "items": 9, "items_with_title": 1}
    targets = {"test_targets_tied": 30, "test_targets_repeated": 2}
    same = {name: {"personalisation@10": 0.0} for name in ("flat", "lost", "most_popular")}
    marked = (
        row("tower", True, 0.06, 0.01, beats="most_popular"),
        row("chain", False, 0.05, beats="most_popular"),
        row("small", True, 0.0205, -0.03),
        popular,
        row("flat", True, 0.01, -0.04),
        row("lost", True, 0.009, -0.041),
    )
    failed = (Check("unique", "marts/items", False), Check("prices", "marts/items", False, "warning"))
    small = replace(board(chain), catalogue=40)
    return {
        "no recommender": _content(),
        "a trained model is better": _content(better, chain),
        "a trained model is not significantly different": _content(row("tower", True, 0.051, 0.001), chain),
        "not significantly different after correction": _content(corrected, chain, popular),
        "a trained model was not compared": _content(row("tower", True, 0.06), chain),
        "a baseline leads, the model is worse": _content(chain, row("tower", True, 0.04, -0.01)),
        "a baseline leads, the model is not significantly different": _content(
            chain, row("tower", True, 0.049, -0.001)
        ),
        "a baseline leads a fusion and a model": _content(chain, fused, row("tower", True, 0.04, -0.01)),
        "a baseline leads a fusion": _content(chain, fused),
        "a trained model alone": _content(row("tower", True, 0.06)),
        "a baseline alone": _content(chain),
        "every audit": whole,
        "no audit with a concern": replace(whole, audits=quiet),
        "failed checks": _content(better, chain, statistics=known | targets, checks=failed, test_users=100),
        "ties known of interactions": _content(chain, statistics={"tied_interactions": 50, "interactions": 100}),
        "one list for everyone": _content(*marked, list_metrics=same | {"lost": {"personalisation@10": 0.02}}),
        "one list for one model": _content(*marked, list_metrics=same | {"lost": {}}),
        "a catalogue hardly larger than a list": ReportContent("X", small),
        "nothing to say": _content(
            chain,
            statistics={"test_targets_tied": 4, "items": 9, "items_with_title": 9},
            checks=(Check("a", "b", True),),
        ),
    }


def test_sentences_of_a_report(golden):
    parts = []
    for situation, content in _situations().items():
        said = [*verdict.verdict(content), *(f"- {one}" for one in verdict.further_caveats(content))]
        parts.append("\n".join([f"# {situation}", *said]))
    golden("sentences.txt", "\n\n".join(parts) + "\n")


def test_summaries_of_audits(golden):
    groups = (
        (CONCERN,),
        (NO_CONCERN,),
        (NO_CONCERN, NOT_APPLICABLE),
        (CONCERN, NO_CONCERN),
        (CONCERN, CONCERN),
        (NOTE, CANNOT_TELL, NOTE),
        (CONCERN, NOTE),
    )
    lines = []
    for outcomes in groups:
        audits = [replace(report_audits.ties(), outcome=outcome) for outcome in outcomes]
        lines.append(f"{', '.join(outcomes)}: {labels.audits_summary(audits)}")
    golden("audits_summaries.txt", "\n".join(lines) + "\n")
