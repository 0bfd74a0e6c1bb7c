"""The page of a report: equal each time, nothing loaded, nothing run, and nothing in it can do harm."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from report_contents import board, made_up_content, made_up_run, row, with_texts
from report_page import HOSTILE, Page

from ml.reports.content.report import ReportContent, RunFacts
from ml.reports.render import html
from ml.reports.render.html import render_html, write_html
from ml.reports.render.write import FILES


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return made_up_content()


@pytest.fixture(scope="module")
def page(content) -> Page:
    return Page(render_html(content, made_up_run()))


@pytest.mark.usefixtures("empty_drawings")
def test_equal_content_gives_equal_bytes(content):
    assert render_html(made_up_content(), made_up_run()) == render_html(content, made_up_run())


@pytest.mark.usefixtures("empty_drawings")
def test_only_the_sections_on_cost_time_and_run_differ_between_runs(content):
    other = RunFacts("2031-01-01", {"processor": "another"}, {"tower": 1.0, "small": 2.0}, {"ranking": 9.0})

    def parts(run: RunFacts) -> tuple[str, list[str]]:
        text, found = render_html(content, run), []
        for name in ("cost", "over-time", "run"):
            start = text.index(f'<section id="{name}"')
            end = text.index("</section>", start)
            found.append(text[start:end])
            text = text[:start] + text[end:]
        return text, found

    (rest, sections), (other_rest, other_sections) = parts(made_up_run()), parts(other)
    assert rest == other_rest
    assert all(one != another for one, another in zip(sections, other_sections, strict=True))


@pytest.mark.usefixtures("empty_drawings")
def test_without_facts_of_the_run_there_is_no_section_on_it(content):
    text = render_html(content)
    assert 'id="run"' not in text
    assert "#run" not in text


@pytest.mark.usefixtures("empty_drawings")
def test_empty_parts_leave_no_empty_sections():
    bare = ReportContent("Bare", board(row("chain", False, 0.05)))
    page = Page(render_html(bare))
    assert [attributes["id"] for attributes in page.named("section")] == ["result", "metrics", "provenance"]
    links = {attributes["href"] for attributes in page.named("a")}
    assert links == {"#result", "#metrics", "#provenance", "leaderboard.csv"}


def test_a_leaderboard_without_rows_or_with_nothing_but_zeros_is_shown():
    assert "No recommender was evaluated" in render_html(ReportContent("None", board()))
    zeros = row("chain", False, 0.0)
    assert "0.0000" in render_html(ReportContent("Zeros", board(zeros)))


@pytest.mark.usefixtures("empty_drawings")
def test_nothing_is_loaded_and_nothing_runs(page, content):
    text = render_html(content, made_up_run())
    for tag in ("script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "foreignobject"):
        assert page.named(tag) == [], tag
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href", "action"):
                # a place in the page, or a file that is written beside it
                assert value.startswith("#") or (tag == "a" and value in FILES), (tag, value)
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    (policy,) = (a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


@pytest.mark.usefixtures("empty_drawings")
def test_hostile_text_in_every_place_changes_no_element(content):
    def rendered(before: str) -> Page:
        def change(text: str) -> str:
            return f"{before} {text}"

        return Page(render_html(with_texts(content, change), with_texts(made_up_run(), change)))

    expected = rendered("".join(character if character.isalnum() else "x" for character in HOSTILE))
    found = rendered(HOSTILE)

    def skeleton(page: Page) -> list:
        return [
            (tag, tuple(attributes))
            for (tag, attributes), parents in zip(page.elements, page.parents, strict=True)
            if tag != "wbr" and "svg" not in parents
        ]

    assert skeleton(found) == skeleton(expected)
    for tag, attributes in found.elements:
        assert tag != "script"
        assert not any(name.startswith("on") for name in attributes)
        assert not any("javascript:" in (value or "") for name, value in attributes.items() if name != "aria-label")
    shown = "".join(found.text)
    assert shown.count("<script>alert(1)</script>") > 30, "it is shown as the text that it is"
    assert "{{ 7 * 7 }}" in shown
    assert "\\u202e\\x00\\u200b" in shown
    assert "\u202e" not in shown


def test_drawings_hold_hostile_text_as_text(content):
    hostile = with_texts(content, lambda text: f"{text} {HOSTILE}")
    found = Page(render_html(hostile, made_up_run()))
    inside = {tag for (tag, _), parents in zip(found.elements, found.parents, strict=True) if "svg" in parents}
    assert inside <= {
        "title",
        "desc",
        "g",
        "path",
        "text",
        "tspan",
        "use",
        "defs",
        "clippath",
        "rect",
        "line",
        "circle",
    }


def test_every_table_has_a_caption_and_scoped_headers(page):
    tables = page.named("table")
    captions = [parents[-1] for (tag, _), parents in zip(page.elements, page.parents, strict=True) if tag == "caption"]
    assert len(captions) == len(tables) > 10
    assert set(captions) == {"table"}
    assert {attributes.get("scope") for attributes in page.named("th")} == {"row", "col"}


def test_landmarks_headings_and_names(page):
    assert [len(page.named(tag)) for tag in ("header", "main", "footer", "nav", "h1")] == [1, 1, 1, 1, 1]
    assert page.named("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for target in (attributes.get("aria-labelledby") or "").split():
            assert target in ids
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in ids
    labels = [attributes["aria-label"] for attributes in page.named("div", "section") if "aria-label" in attributes]
    assert len(labels) == len(set(labels))


def test_every_drawing_has_a_title_or_says_what_the_text_beside_it_says(page):
    drawings = page.named("svg")
    titled = [attributes for attributes in drawings if attributes.get("role") == "img"]
    # curves 2, lengths 1, cost 2, slices 5, audits 3, books 1, beam widths 3, goals beyond accuracy 2, answers 1,
    # results over time 2
    assert len(titled) == 22
    assert all(attributes.get("aria-hidden") == "true" for attributes in drawings if attributes not in titled)
    inner = [parents[-1] for (tag, _), parents in zip(page.elements, page.parents, strict=True) if tag == "title"]
    assert Counter(inner) == {"head": 1, "svg": 22}


def test_colours_of_text_contrast_with_the_page_in_light_and_dark():
    style = (Path(html.__file__).parent / "templates" / "report.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", scheme))
        for name, least in {"ink": 7, "muted": 4.5, "accent": 4.5, "good": 4.5, "bad": 4.5, "part-2": 3}.items():
            assert _contrast(colours[name], colours["paper"]) >= least, name
        series = [colour for name, colour in colours.items() if name.startswith("series-")]
        assert len(series) == 6
        assert all(_contrast(colour, colours["paper"]) >= 4.5 for colour in series)


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.usefixtures("empty_drawings")
def test_a_report_replaces_the_one_before_and_leaves_nothing_beside_it(content, tmp_path):
    path = tmp_path / "made" / "report.html"
    bare = replace(content, training=(), history_lengths=())
    write_html(bare, path)
    write_html(replace(bare, dataset="Another"), path)
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    assert "<h1><bdi>Another</bdi></h1>" in path.read_text(encoding="utf-8")


def test_no_heavy_library_is_imported_before_something_is_drawn():
    code = (
        "import sys, ml.reports.render.html, ml.reports.render.markdown.report, ml.reports.collect.report; "
        "print(sorted({'matplotlib', 'torch', 'pandas', 'ranx', 'sklearn', 'dagster'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
