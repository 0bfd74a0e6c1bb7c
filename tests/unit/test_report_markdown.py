"""The report as Markdown: tables for asset metadata, and the model card."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import report_audits
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_contents import board, made_up_content, made_up_run, row, with_texts
from report_page import HOSTILE

from ml.reports.content.report import ReportContent
from ml.reports.render.markdown import report as markdown
from ml.reports.render.markdown.model_card import model_card
from ml.reports.render.text import escape_markdown, visible


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return made_up_content()


def tokens(text: str):
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        yield token
        yield from token.children or ()


def shown(text: str) -> str:
    """What a reader sees of Markdown."""
    found = [token.content for token in tokens(text) if token.type == "text"]
    return "".join(found)


@settings(max_examples=300)
@given(st.text(max_size=40) | st.text("`*_|<>&[]()#-+.!~=$^:/\\ @wWhtpsjax{}\"'1\n", max_size=30))
def test_escaped_text_is_shown_as_it_is(text):
    escaped = escape_markdown(text)
    assert {token.type for token in tokens(escaped)} <= {"paragraph_open", "inline", "text", "paragraph_close"} | {
        "text_special"
    }
    expected = re.sub(" +", " ", visible(text)).strip()
    assert shown(escaped).replace("\u200b", "") == expected


@given(st.text(max_size=30))
def test_text_cannot_leave_its_cell(text):
    table = markdown.table(("a", "b"), [(text, "x"), ("y", text)])
    types = Counter(token.type for token in tokens(table))
    assert types["td_open"] == 4
    assert types["tr_open"] == 3


def test_hostile_text_becomes_neither_markup_nor_link(content):
    hostile = with_texts(content, lambda text: f"{HOSTILE} {text}")
    tables = [
        markdown.report(hostile),
        markdown.leaderboard(hostile.leaderboard, {"tower": 3.0}),
        markdown.funnel(hostile.funnels[0]),
        markdown.statistics(hostile),
        markdown.training(hostile.training),
        markdown.codes(hostile.codes),
        markdown.generation(hostile.generation),
        markdown.checks(hostile.checks),
        markdown.rejected(hostile.rejected),
        markdown.examples(hostile.examples),
        *(markdown.audit(audit, images=False) for audit in hostile.audits),
        markdown.audits(hostile),
        markdown.slices(hostile),
        markdown.list_metrics(hostile),
        markdown.all_metrics(hostile.leaderboard),
        markdown.comparison(hostile.leaderboard),
        body(model_card(hostile, with_texts(made_up_run(), lambda text: f"{HOSTILE} {text}"))),
    ]
    for text in tables:
        types = {token.type for token in tokens(text)}
        assert not types & {"html_inline", "html_block", "link_open", "image", "code_inline", "fence", "code_block"}
        # viewers make links of bare addresses
        assert "://" not in text.replace("\\", "")
    assert sum("<script>alert(1)</script>" in shown(text) for text in tables) == len(tables) - 1, "all but statistics"


def body(card: str) -> str:
    """A card without its front matter."""
    return card.split("\n---\n", 1)[1]


def front(card: str) -> dict:
    return yaml.safe_load(card.split("\n---\n", 1)[0].removeprefix("---\n"))


def test_an_audit_in_markdown_has_its_drawing_and_tables():
    ties = report_audits.ties()
    text = markdown.audit(ties)
    assert text.startswith(f"### {ties.title}\n\n**Concern.** ")
    assert text.count("](data:image/png;base64,iVBOR") == 1
    types = Counter(token.type for token in tokens(text))
    assert types["table_open"] == len(ties.tables) == 2
    assert types["tr_open"] == 1 + 6 + 1 + 1
    assert "![" not in markdown.audit(ties, images=False)
    leakage = report_audits.leakage()
    assert "**Near-duplicate users.** 30 rows, omitted here." in markdown.audit(leakage, most_rows=24)
    assert "| U29 | U129 | 41 | 0.8840 |" in markdown.audit(leakage)


def test_nothing_is_printed_of_slices_and_lists_that_are_not_there(content):
    bare = ReportContent("X", board(row("chain", False, 0.05)))
    assert markdown.slices(bare) == markdown.list_metrics(bare) == ""
    lines = markdown.list_metrics(content).splitlines()
    assert {line.count("|") for line in lines[:6]} == {lines[0].count("|")}


def test_the_model_card_has_every_section_and_front_matter_that_yaml_reads(content):
    card = model_card(content, made_up_run())
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert headings == [
        "Model details",
        "Intended use",
        "Data",
        "Protocol",
        "Results",
        "Limitations",
        "Training",
        "Provenance",
    ]
    found = front(card)
    assert found["datasets"] == ["Made_Up"]
    assert found["metrics"] == ["ndcg", "recall", "mrr"]
    assert [model["name"] for model in found["model-index"]] == ["Tower", "Chain", "Small", "Popular"]
    (result,) = found["model-index"][0]["results"]
    assert result["dataset"]["name"] == "Made_Up"
    assert {"type": "ndcg@10", "name": "nDCG@10", "value": 0.06} in result["metrics"]
    assert card == model_card(made_up_content(), made_up_run())
    assert "data:image" not in card
    for audit in content.audits:
        assert f"### {audit.title}" in card


def test_a_bare_report_makes_a_card_without_empty_sections():
    card = model_card(ReportContent("Bare", board(row("chain", False, 0.05))))
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == [
        "Model details",
        "Intended use",
        "Protocol",
        "Results",
    ]
    assert "No recommender was evaluated" in model_card(ReportContent("None", board()))


@settings(max_examples=100)
@given(st.text(max_size=30))
def test_front_matter_holds_any_text(text):
    named = row("chain", False, 0.05, title=text)
    found = front(model_card(ReportContent(text, board(named))))
    assert found["datasets"] == [visible(text)]
    assert found["model-index"][0]["name"] == visible(text)
