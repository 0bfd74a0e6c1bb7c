"""The page in a browser: axe-core finds nothing serious, nothing is wider than a phone, and no text becomes an element.

Needs Chromium and the package ``axe-core-python``, which brings Deque's axe-core; skipped where either is missing.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from chromium import ABSENT, BROWSER, FLAGS
from report_contents import made_up_content, made_up_run, with_texts
from report_page import HOSTILE
from what_helps_gains import made_up_gains

from ml.reports.content.report import ReportContent
from ml.reports.render.html import render_html

PHONE, DESKTOP = 360, 1280
SHEET = 688  # pixels that A4 leaves between the margins of the style sheet
VIEWS = [(width, scheme) for width in (PHONE, DESKTOP) for scheme in ("light", "dark")]
LONG_TITLES = (DESKTOP, "titles")
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
# What is measured in the page: axe's findings (of a drawing as the one image that it is to a reader of screens), and
# what reaches beyond the right edge and is not in a table that scrolls; on paper none does.
_MEASURE = """
for (const closed of document.querySelectorAll('details')) closed.open = true;
const edge = document.documentElement.clientWidth;
const onPaper = window.name.startsWith('print');
const wide = [...document.body.querySelectorAll('*')]
  .filter(one => !one.closest('.skip, .unseen') && (onPaper || !one.parentElement.closest('.scroll')))
  .filter(one => !(one instanceof SVGElement && one.parentElement instanceof SVGElement))
  .filter(one => one.getBoundingClientRect().right > edge + 0.5)
  .map(one => `${one.tagName} ${one.className} ${Math.round(one.getBoundingClientRect().right)}`);
(onPaper || window.name.startsWith('titles')
  ? Promise.resolve({violations: [], passes: []})
  : axe.run({exclude: [['.plot g']]}, {resultTypes: ['violations']})
).then(found => {
  const told = kind => found[kind].map(rule => [rule.id, rule.impact, rule.nodes.map(node => node.html).slice(0, 3)]);
  return {violations: told('violations'), passed: found.passes.length};
}, error => ({error: String(error)})).then(found => {
  found.width = edge;
  found.content = document.documentElement.scrollWidth;
  found.wide = wide.slice(0, 9);
  found.fits = Object.fromEntries([...document.querySelectorAll('.scroll')]
    .map(one => [one.getAttribute('aria-label'), one.scrollWidth <= one.clientWidth]));
  found.columns = [...document.querySelectorAll('#quality thead th:not(.n), #reading thead th')]
    .map(one => [one.textContent, Math.round(one.getBoundingClientRect().width)]);
  found.dark = getComputedStyle(document.body).backgroundColor;
  window.parent.document.getElementById(window.name).textContent = JSON.stringify(found);
});
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=ABSENT),
    pytest.mark.skipif(find_spec("axe_core_python") is None, reason="the package axe-core-python is not installed"),
]


def dump(page: str, path: Path) -> str:
    """The document that Chromium makes of a page, after its scripts have run."""
    path.write_text(page, encoding="utf-8")
    options = [*FLAGS, "--hide-scrollbars", "--window-size=1400,1000"]
    options += ["--virtual-time-budget=30000", f"--user-data-dir={path.parent / 'profile'}"]
    command = [BROWSER, *options, "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def seen_as(page: str, width: int, scheme: str) -> str:
    """A frame that shows the page in a width and a colour scheme, and measures it."""
    axe = Path(find_spec("axe_core_python").submodule_search_locations[0]) / "axe.min.js"
    dark = "@media screen and (prefers-color-scheme: dark)"
    assert page.count(dark) == 1
    page = _POLICY.sub("", page).replace(dark, "@media screen" if scheme == "dark" else "@media not all")
    page = page.replace("color-scheme: light dark", f"color-scheme: {'dark' if scheme == 'dark' else 'light'}")
    if scheme == "print":
        assert page.count("@media print") == 1
        page = page.replace("@media print", "@media all")
    scripts = f"<script>{axe.read_text(encoding='utf-8')}</script><script>{_MEASURE}</script>"
    page = html.escape(page.replace("</body>", f"{scripts}</body>"))
    name = f"{scheme}-{width}"
    frame = f'<iframe name="{name}" width="{width}" height="900" style="border: 0" srcdoc="{page}"></iframe>'
    return f'<pre id="{name}"></pre>{frame}'


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict[tuple[int, str], dict]:
    """What was measured in each view of a report with something in every section, and very long words in every text."""
    content, run = (with_texts(one, _with_a_long_word) for one in (_content(), made_up_run()))
    page = render_html(content, run)
    frames = "".join(seen_as(page, width, scheme) for width, scheme in [*VIEWS, (SHEET, "print")])
    frames += seen_as(render_html(with_texts(_content(), _with_a_long_title), made_up_run()), *LONG_TITLES)
    path = tmp_path_factory.mktemp("frames") / "frames.html"
    found = dump(f"<!doctype html><html><body>{frames}</body></html>", path)
    results = dict(re.findall(r'<pre id="([a-z]+-\d+)">(.*?)</pre>', found, re.DOTALL))
    assert all(results.values()), "every view was measured in time"
    return {
        (int(name.partition("-")[2]), name.partition("-")[0]): json.loads(html.unescape(found))
        for name, found in results.items()
    }


def _content() -> ReportContent:
    return replace(made_up_content(), what_helps=made_up_gains())


def _with_a_long_word(text: str) -> str:
    return f"{text} {'W' * 60}"


def _with_a_long_title(text: str) -> str:
    return text.replace("Chain", "SASRec, gSASRec, item graphs and text, fused")


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_axe_finds_nothing_serious(measured, width, scheme):
    found = measured[width, scheme]
    assert "error" not in found
    assert found["passed"] > 20, "axe looked at the page"
    assert [one for one in found["violations"] if one[1] in ("serious", "critical")] == []
    assert found["violations"] == []


def test_the_views_are_what_they_are_called(measured):
    assert {width: found["width"] for (width, _), found in measured.items()} == {
        one: one for one in (PHONE, DESKTOP, SHEET)
    }
    assert measured[PHONE, "light"]["dark"] == "rgb(255, 255, 255)"
    assert measured[PHONE, "dark"]["dark"] == "rgb(20, 23, 26)"


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_nothing_but_tables_is_wider_than_the_page(measured, width):
    found = measured[width, "light"]
    assert found["wide"] == []
    assert found["content"] <= found["width"]


def test_tables_over_time_fit_a_desktop(measured):
    fits = measured[LONG_TITLES]["fits"]
    tables = ("Results over time", "Data and code of the results", "Releases on what came after them")
    assert {table: fits[table] for table in tables} == dict.fromkeys(tables, True)


def test_on_paper_nothing_is_cut(measured):
    assert measured[SHEET, "print"]["wide"] == []


def test_on_paper_no_column_of_words_is_a_few_letters_wide(measured):
    columns = measured[SHEET, "print"]["columns"]
    assert {"Severity", "Found", "Reason", "Layout"} <= {name for name, _ in columns}
    assert [column for column in columns if column[1] < 48] == []


def test_a_broken_page_would_be_found(tmp_path):
    """The check itself: an image without text and a line wider than a phone."""
    page = render_html(made_up_content().__class__("Bare", made_up_content().leaderboard))
    page = page.replace("<main>", '<main><img src="data:,"><p style="width: 900px">wide</p>')
    found = dump(f"<!doctype html><html><body>{seen_as(page, PHONE, 'light')}</body></html>", tmp_path / "page.html")
    result = json.loads(html.unescape(re.search(r'<pre id="light-360">(.*?)</pre>', found, re.DOTALL)[1]))
    assert "image-alt" in [rule for rule, _, _ in result["violations"]]
    assert any(one.startswith("P") for one in result["wide"])
    assert result["content"] > result["width"]


def test_a_browser_makes_no_element_of_hostile_text(tmp_path):
    def elements(before: str) -> Counter:
        content, run = (with_texts(one, lambda text: f"{before} {text}") for one in (_content(), made_up_run()))
        found = dump(render_html(content, run), tmp_path / "page.html")
        tags = re.findall(r"<([a-zA-Z][\w:-]*)((?:\s+[^\s=>\"]+(?:=\"[^\"]*\")?)*)\s*/?>", found)
        names = Counter(tag.lower() for tag, _ in tags)
        attributes = {name for _, rest in tags for name in re.findall(r"([^\s=\"]+)=\"[^\"]*\"", rest)}
        assert not [name for name in attributes if name.lower().startswith("on")]
        assert not {"script", "img", "iframe", "object", "base", "form"} & set(names)
        # a name may be broken at more places, and drawings of names of other widths have other paths
        kept = ("a", "p", "td", "th", "tr", "bdi", "svg")
        return Counter({tag: names[tag] for tag in kept})

    plain = "".join(character if character.isalnum() else "x" for character in HOSTILE)
    assert elements(HOSTILE) == elements(plain)
