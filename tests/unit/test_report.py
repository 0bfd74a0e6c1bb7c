"""The report: what it says, that nothing in it can do harm, and that it is collected right."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_contents import board, made_up_content, made_up_run, row, with_texts, write_made_up_lake

from ml.reports import html, markdown, wording
from ml.reports.collect import MissingInput, collect, run_facts
from ml.reports.collect_interactions import count_tied_targets
from ml.reports.content import Check, Funnel, FunnelStep, ReportContent, RunFacts
from ml.reports.html import render_html, write_html
from ml.reports.text import escape_markdown, visible

HOSTILE = (
    "</title></style></td></script><script>alert(1)</script><img src=x onerror=alert(2)>"
    "\" onmouseover='alert(3)' `<a href=javascript:alert(4)>` [x](javascript:alert(5)) {{ 7 * 7 }} {% raw %} "
    "| & &lt; $a$ https://example.org \u202e\x00\u200b"
)
VOID = {"meta", "wbr", "link", "img", "br", "input"}


class Page(HTMLParser):
    """Elements of a page in order, with what the tests ask of them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.parents: list[tuple[str, ...]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.parents.append(tuple(self.open))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.parents.append(tuple(self.open))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} is closed in order"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return made_up_content()


@pytest.fixture(scope="module")
def page(content) -> Page:
    return Page(render_html(content, made_up_run()))


def test_equal_content_gives_equal_bytes(content):
    assert render_html(made_up_content(), made_up_run()) == render_html(content, made_up_run())


def test_only_the_section_on_the_run_differs_between_runs(content):
    other = RunFacts("2031-01-01", {"processor": "another"}, {"tower": 1.0, "small": 2.0}, {"ranking": 9.0})

    def parts(run: RunFacts) -> tuple[str, str]:
        text = render_html(content, run)
        start = text.index('<section id="run"')
        end = text.index("</section>", start)
        return text[:start] + text[end:], text[start:end]

    (rest, section), (other_rest, other_section) = parts(made_up_run()), parts(other)
    assert rest == other_rest
    assert section != other_section


def test_without_facts_of_the_run_there_is_no_section_on_it(content):
    text = render_html(content)
    assert 'id="run"' not in text
    assert "#run" not in text


def test_empty_parts_leave_no_empty_sections():
    bare = ReportContent("Bare", board(row("chain", False, 0.05)))
    page = Page(render_html(bare))
    assert [attributes["id"] for attributes in page.named("section")] == ["result", "metrics", "provenance"]
    links = {attributes["href"] for attributes in page.named("a")}
    assert links == {"#result", "#metrics", "#provenance"}


def test_a_leaderboard_without_rows_or_with_nothing_but_zeros_is_shown():
    assert "No recommender was evaluated" in render_html(ReportContent("None", board()))
    zeros = row("chain", False, 0.0)
    assert "0.0000" in render_html(ReportContent("Zeros", board(zeros)))


def test_nothing_is_loaded_and_nothing_runs(page, content):
    text = render_html(content, made_up_run())
    for tag in ("script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "foreignobject"):
        assert page.named(tag) == [], tag
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href", "action"):
                assert value.startswith("#"), (tag, value)
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    (policy,) = (a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


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
        if (attributes.get("href") or "#")[1:]:
            assert attributes["href"][1:] in ids
    labels = [attributes["aria-label"] for attributes in page.named("div", "section") if "aria-label" in attributes]
    assert len(labels) == len(set(labels))


def test_every_drawing_has_a_title_or_says_what_the_text_beside_it_says(page):
    drawings = page.named("svg")
    titled = [attributes for attributes in drawings if attributes.get("role") == "img"]
    assert len(titled) == 5
    assert all(attributes.get("aria-hidden") == "true" for attributes in drawings if attributes not in titled)
    inner = [parents[-1] for (tag, _), parents in zip(page.elements, page.parents, strict=True) if tag == "title"]
    assert Counter(inner) == {"head": 1, "svg": 5}


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


def test_a_report_replaces_the_one_before_and_leaves_nothing_beside_it(content, tmp_path):
    path = tmp_path / "made" / "report.html"
    bare = replace(content, training=(), history_lengths=())
    write_html(bare, path)
    write_html(replace(bare, dataset="Another"), path)
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    assert "<h1><bdi>Another</bdi></h1>" in path.read_text(encoding="utf-8")


def test_no_heavy_library_is_imported_before_something_is_drawn():
    code = (
        "import sys, ml.reports.html, ml.reports.markdown, ml.reports.collect; "
        "print(sorted({'matplotlib', 'torch', 'pandas', 'ranx', 'sklearn', 'dagster'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# --- what it says


def verdict(*rows, **changes) -> tuple[str, ...]:
    test_users = changes.pop("test_users", 4000)
    return wording.verdict(ReportContent("X", board(*rows, test_users=test_users), **changes))


def test_verdict_where_a_trained_model_is_better():
    first, second, third = verdict(row("tower", True, 0.06, 0.01), row("chain", False, 0.05))
    assert first == (
        "Tower leads with nDCG@10 0.0600 (95\u00a0% interval 0.0560 to 0.0640) over 4,000 test users, ranking all "
        "700 items."
    )
    assert second == (
        "It is 20\u00a0% above the best training-free baseline, Chain (0.0500), and told apart from it: the paired "
        "95\u00a0% interval of the difference, +0.0080 to +0.0120, excludes zero."
    )
    assert third == "Each trained model was trained once: intervals tell of users, not of the luck of a seed."


def test_verdict_where_the_leader_is_not_told_apart():
    _, second, _ = verdict(row("tower", True, 0.051, 0.001), row("chain", False, 0.05))
    assert second == (
        "It is not told apart from the best training-free baseline, Chain (0.0500): the paired 95\u00a0% interval of "
        "the difference, −0.0010 to +0.0030, holds zero."
    )


@pytest.mark.parametrize(("difference", "words"), [(-0.01, "is behind it:"), (-0.001, "is not told apart from it:")])
def test_verdict_where_a_baseline_leads(difference, words):
    _, second, _ = verdict(row("chain", False, 0.05), row("tower", True, 0.05 + difference, difference))
    assert second.startswith("It needs no training; the best trained model, Tower (0.0")
    assert words in second


def test_a_fusion_is_no_trained_model_of_its_own():
    fused = row("blend", True, 0.045, -0.005, fused=True)
    assert wording.kind(fused) == "fused"
    rows = (row("chain", False, 0.05), fused, row("tower", True, 0.04, -0.01))
    assert verdict(*rows)[1].startswith("It needs no training; the best trained model, Tower (0.0400)")
    assert verdict(*rows[:2])[1] == "No trained model was evaluated beside it."


def test_verdict_without_anything_to_compare_with():
    assert "No training-free baseline" in verdict(row("tower", True, 0.06))[1]
    assert verdict(row("chain", False, 0.06))[1] == "No trained model was evaluated beside it."
    assert "no interval was computed" in verdict(row("tower", True, 0.06), row("chain", False, 0.05))[1]


def test_the_gravest_caveat_stands_in_the_verdict_and_the_others_below():
    rows = (row("tower", True, 0.06, 0.01), row("chain", False, 0.05))
    known = {
        "tie_order": "file",
        "test_targets_tied": 30,
        "test_targets_repeated": 2,
        "items": 9,
        "items_with_title": 1,
    }
    checks = (Check("unique", "marts/items", False), Check("prices", "marts/items", False, "warning"))
    content = ReportContent("X", board(*rows, test_users=100), statistics=known, checks=checks)
    assert wording.verdict(content)[2].startswith(
        "1 of 2 data checks failed with severity error (unique on marts/items)"
    )
    starts = [
        "For 30\u00a0% of the test users the target shares its timestamp with the interaction before it, so the tie "
        "rule (file)",
        "There are only 100 test users: one user is worth 0.0100 of a recall",
        "2.0\u00a0% of the test targets are already in the user's history",
        "Only 1 of 9 items have a title",
        "Each trained model was trained once",
        "1 data check ended with a warning",
    ]
    further = wording.further_caveats(content)
    assert [sentence[: len(start)] for sentence, start in zip(further, starts, strict=True)] == starts


def test_what_is_harmless_is_no_caveat():
    known = {"test_targets_tied": 4, "test_targets_repeated": 1, "items": 9, "items_with_title": 9}
    content = ReportContent(
        "X", board(row("chain", False, 0.05)), statistics=known, checks=(Check("unique", "items", True),)
    )
    assert tuple(wording.caveats(content)) == ()
    tied = replace(content, statistics={"tied_interactions": 50, "interactions": 100})
    assert [caveat[:4] for caveat in wording.caveats(tied)] == ["50\u00a0%"]


@pytest.mark.parametrize(
    ("share", "printed"),
    [
        (0, "0 %"),
        (0.0004, "< 0.1 %"),
        (0.034, "3.4 %"),
        (0.14, "14 %"),
        (0.996, "99.6 %"),
        (0.9999, "> 99.9 %"),
        (1, "100 %"),
    ],
)
def test_percentages_never_round_something_to_nothing(share, printed):
    assert wording.percent(share).replace("\u00a0", " ") == printed


def test_numbers_as_they_are_printed():
    assert wording.signed_metric(-0.00001) == "0.0000"
    assert wording.signed_metric(-0.0123) == "−0.0123"
    assert wording.size(999) == "999\u00a0bytes"
    assert wording.size(39_000_123) == "39.0\u00a0MB"
    assert wording.duration(0.42) == "420\u00a0ms"
    assert wording.duration(184.2) == "3\u00a0min 04\u00a0s"
    assert wording.duration(7800) == "2\u00a0h 10\u00a0min"
    assert wording.day(1_393_372_800) == "2014-02-26"
    assert wording.of(1, "user") == "1 user"
    assert wording.metrics_of(made_up_content().leaderboard) == ("ndcg@10", "recall@10", "mrr@10")


@given(st.floats(1e-6, 10))
def test_ticks_are_few_and_inside(full):
    ticks = html._ticks(full)
    assert ticks[0] == (0, "0")
    assert 2 <= len(ticks) <= 5
    assert ticks[-1][0] <= full * (1 + 1e-9)
    assert all(float(label) == pytest.approx(tick) for tick, label in ticks), "no label is rounded"
    assert len({len(label) for _, label in ticks[1:]}) <= 2


@given(
    st.lists(st.lists(st.integers(0, 1000), max_size=4), min_size=1, max_size=5), st.integers(0, 99), st.integers(1, 9)
)
def test_a_funnel_adds_up_or_says_by_how_much_it_does_not(removals, last, lost):
    steps, left = [], last + sum(map(sum, removals))
    for removed in removals:
        steps.append(FunnelStep("stage", left, "stage"))
        steps += [FunnelStep("removed", rows, "removed") for rows in removed]
        left -= sum(removed)
    steps.append(FunnelStep("kept", left, "stage"))
    steps += [FunnelStep("a", left // 3, "part"), FunnelStep("b", left - left // 3, "part")]
    assert Funnel("reviews", "line", tuple(steps)).unexplained == 0
    steps[-1] = FunnelStep("b", steps[-1].rows + lost, "part")
    assert Funnel("reviews", "line", tuple(steps)).unexplained == lost
    del steps[-2:]
    steps[-1] = FunnelStep("kept", left + lost, "stage")
    assert Funnel("reviews", "line", tuple(steps)).unexplained == lost


def test_an_unexplained_row_is_told(content):
    broken = Funnel("reviews", "line", (FunnelStep("Rows read", 10, "stage"), FunnelStep("Kept", 9, "stage")))
    text = render_html(replace(content, funnels=(broken,)))
    assert "1 row unexplained: the steps above do not add up." in text
    assert "none is unexplained" not in text
    assert "| Unexplained | 1 |" in markdown.funnel(broken)


# --- Markdown


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
    table = markdown._table(("a", "b"), [(text, "x"), ("y", text)])
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
        markdown.checks(hostile.checks),
        markdown.rejected(hostile.rejected),
        markdown.examples(hostile.examples),
    ]
    for text in tables:
        types = {token.type for token in tokens(text)}
        assert not types & {"html_inline", "html_block", "link_open", "image", "code_inline", "fence", "code_block"}
        # viewers make links of bare addresses
        assert "://" not in text.replace("\\", "")
    assert sum("<script>alert(1)</script>" in shown(text) for text in tables) == len(tables) - 1, "all but statistics"


def test_tables_in_markdown(content):
    text = markdown.leaderboard(content.leaderboard, {"tower": 130.0})
    lines = text.splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == [
        "1",
        "Tower",
        "trained",
        "0.0600",
        "0.0560 to 0.0640",
        "0.1200",
        "0.0300",
        r"\+0.0100 better",
        "2\u00a0min 10\u00a0s",
    ]
    assert "is the best baseline" in lines[3]
    assert lines[-1] == "**Protocol.** split: leave-one-out; k-core: 5."
    assert "FAILED" in markdown.checks(content.checks).splitlines()[2]
    assert "at rank 2" in markdown.examples(content.examples)
    assert "not among the first 20" in markdown.examples(content.examples)


# --- collecting


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    lake = tmp_path_factory.mktemp("lake")
    write_made_up_lake(lake)
    return lake


@pytest.fixture(scope="module")
def collected(lake) -> ReportContent:
    checks = [Check("b", "marts/items", True), Check("a", "marts/items", True)]
    return collect(lake, "Made_Up", checks, {"marts/items": "ab"}, code_version="1.2.3")


def test_collected_leaderboard(collected):
    board = collected.leaderboard
    assert [row.title for row in board.rows] == ["Tower", "Popular"]
    tower = board.rows[0]
    # ranks 3 to 8 and so on: users 0, 1, 2, 3, 4, 5 have targets 3, 4, 5, 4, 7, 8
    ranks = [1, 2, 3, 2, 5, 6]
    assert tower.metrics["mrr@10"].value == pytest.approx(sum(1 / rank for rank in ranks) / 6)
    assert tower.metrics["ndcg@10"].low < tower.metrics["ndcg@10"].value < tower.metrics["ndcg@10"].high
    assert (tower.trained, tower.note, tower.parameters) == (True, "sampled softmax", 1234)
    assert board.reference.title == "Popular"
    assert board.reference.difference is None
    assert wording.finding(tower) == "better"
    assert (board.test_users, board.catalogue) == (6, 22)
    assert ("split", "leave-one-out") in board.protocol


def test_collected_funnels_add_up(collected):
    reviews, metadata = collected.funnels
    assert [(step.label, step.rows, step.role) for step in reviews.steps] == [
        ("Rows read", 40, "stage"),
        ("rejected: malformed JSON", 3, "removed"),
        ("rejected: asin missing", 1, "removed"),
        ("Valid reviews", 36, "stage"),
        ("exact duplicates (same user, item, time and rating)", 5, "removed"),
        ("byte-identical lines", 3, "of which"),
        ("Distinct interactions", 31, "stage"),
        ("outside the 2-core", 7, "removed"),
        ("Interactions kept", 24, "stage"),
        ("training", 16, "part"),
        ("validation", 2, "part"),
        ("test", 6, "part"),
    ]
    assert [(step.label, step.rows) for step in metadata.steps if step.role == "stage"] == [
        ("Rows read", 9),
        ("ASINs", 7),
        ("Items of the catalogue with metadata", 6),
    ]
    assert reviews.unexplained == metadata.unexplained == 0
    assert [(file.name, file.rejected, file.unused, file.kept) for file in collected.provenance.files] == [
        ("Made_Up.json.gz", 4, 7, 24),
        ("meta_Made_Up.json.gz", 0, 1, 6),
    ]


def test_collected_statistics_and_training(collected):
    assert collected.statistics["test_targets_tied"] == 3
    assert collected.statistics["test_targets_repeated"] == 1
    assert collected.history_lengths == ((4, 6),)
    (curve,) = collected.training
    assert (curve.title, curve.epochs, curve.loss) == ("Tower", (1, 2, 3), (3.0, 2.0, 1.5))
    assert (curve.best_epoch, curve.kept_validation) == (2, 0.3)
    (codes,) = collected.codes
    assert (codes.method, codes.books[0].used, codes.unseen_items) == ("truncated SVD, seed 0", 20, 13)


def test_collected_rejects_are_cut_and_readable(collected):
    # the long line is the third of its reason
    assert [(line.line_number, line.line) for line in collected.rejected] == [
        (10, '{"asin": '),
        (11, "\\xff\\x00 not text"),
        (13, "{}"),
    ]


def test_a_long_rejected_line_is_cut(tmp_path):
    from ml.reports.collect_dumps import _rejected

    record = {"source_file": "f", "line_number": 1, "reason": "r", "detail": None, "line": "é".encode() * 100_000}
    line = _rejected(record).line
    assert len(line) == 241
    assert line.endswith("é…")


def test_collected_examples(collected):
    examples = collected.examples
    assert examples.title == "Tower"
    assert [user.user_id for user in examples.users] == ["u0", "u2", "u3", "u5"]
    third = examples.users[2]
    assert [item.item_id for item in third.history] == ["i03", "i04", "i05"]
    assert (third.target.item_id, third.target.in_history, third.target_rank) == ("i04", True, 2)
    assert [(item.item_id, item.title) for item in third.recommended[:2]] == [("i03", "Item 3"), ("i04", None)]
    assert [item.is_target for item in third.recommended] == [False, True, False, False, False]
    assert [item.in_history for item in third.recommended] == [True, True, True, False, False]


def test_collected_provenance_and_run(collected, lake):
    assert collected.provenance.settings == {"k core": "2", "recipes": "all", "seed": "0"}
    assert collected.provenance.code_version == "1.2.3"
    assert collected.provenance.versions["numpy"].count(".") >= 1
    assert [check.name for check in collected.checks] == ["a", "b"]
    run = run_facts(lake, "now", {"popular": 0.1})
    assert run.fit_seconds == {"tower": 7.5, "popular": 0.1}
    assert "core" in run.machine["processor"]


def test_a_collected_report_is_the_same_each_time(collected, lake):
    again = collect(lake, "Made_Up", reversed(collected.checks), {"marts/items": "ab"}, code_version="1.2.3")
    assert again == collected
    assert render_html(again) == render_html(collected)


def test_a_model_that_is_not_compared_does_not_appear(collected, lake):
    folder = lake / "models" / "left_over"
    folder.mkdir()
    (folder / "training_log.jsonl").write_text('{"fit_on": "train", "epoch": 1, "seconds": 1}\n')
    (lake / "codes" / "left_over").mkdir()
    assert collect(lake, "Made_Up").training == collected.training
    assert collect(lake, "Made_Up").codes == collected.codes


def test_a_lake_without_a_leaderboard_is_told_plainly(tmp_path):
    with pytest.raises(MissingInput, match=r"leaderboard\.parquet is missing: materialise the leaderboard"):
        collect(tmp_path, "X")


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=6), st.randoms())
def test_tied_targets_are_those_that_share_their_time_with_the_one_before(users, random):
    rows, expected = [], 0
    for user, days in enumerate(users):
        days = sorted(days)
        expected += len(days) > 1 and days[-1] == days[-2]
        for position, day in enumerate(days):
            split = "test" if len(days) > 1 and position == len(days) - 1 else "train"
            rows.append({"user_id": f"u{user}", "position": position, "timestamp": day, "split": split})
    assert count_tied_targets(pa.Table.from_pylist(rows)) == expected
    random.shuffle(rows)
    assert count_tied_targets(pa.Table.from_pylist(rows)) == expected
