"""The section "What helps here": sentences, tables, drawings, and the file beside the page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_contents import made_up_content, made_up_run, write_made_up_lake, write_made_up_report
from what_helps_gains import gain, made_up_gains

from ml.evaluation.what_helps.content import WhatHelps
from ml.evaluation.what_helps.files import save_what_helps
from ml.reports.collect.report import collect
from ml.reports.collect.what_helps import what_helps
from ml.reports.render.html import render_html
from ml.reports.render.markdown import report as markdown
from ml.reports.render.markdown.model_card import model_card
from ml.reports.words import what_helps as words

pytestmark = pytest.mark.usefixtures("empty_drawings")

SPACE = "\N{NO-BREAK SPACE}"


def test_each_finding_is_a_sentence():
    assert words.sentences(made_up_gains(), "text") == (
        f"Small: significantly better than Tower (+0.0040; +0.0020 to +0.0060; p{SPACE}={SPACE}0.001).",
        f"BM25: significantly worse than Tower (−0.0100; −0.0120 to −0.0080; p{SPACE}={SPACE}0.0002).",
    )
    assert words.sentences(made_up_gains(), "contrast") == (
        f"Crops: not significantly different from Tower (+0.0006; −0.0014 to +0.0026; p{SPACE}={SPACE}0.7). With 150 "
        "test users, a difference of 0.0031 would probably have been found (80 % power, a single test).",
    )
    assert words.sentences(made_up_gains(), "time") == ()


def test_a_family_helps_where_one_is_better_and_none_is_worse():
    said = "significantly better than the plain counterpart"
    depends = f"It depends on the recommender: 1 of 2 {said}, 1 significantly worse."
    assert words.summary(made_up_gains(), "text") == depends
    better, worse, equal = (
        gain("A", "time", "all test users", *one) for one in ((0.1, 0.01), (-0.1, 0.01), (0.1, 0.2))
    )
    assert words.summary(WhatHelps((better, equal)), "time").startswith(f"It helps: 1 of 2 {said}, 0")
    assert words.summary(WhatHelps((worse, equal)), "time").startswith(f"It does not help: 0 of 2 {said}, 1")
    assert words.summary(WhatHelps((equal,)), "time").startswith("No significant difference was found: 0 of 1")


def test_a_difference_without_a_test_is_no_finding():
    nothing = gain("Small", "text", "all test users", 0.0, float("nan"), detectable=float("nan"))
    assert words.sentences(WhatHelps((nothing,)), "text") == (
        "Small: not significantly different from Tower (0.0000).",
    )


def test_families_stand_in_the_order_of_the_report():
    gains = (gain("A", "memory", "all test users", 0, 1.0), gain("B", "text", "all test users", 0, 1.0))
    assert words.families(WhatHelps(gains)) == ("text", "memory")
    newer = WhatHelps((gain("C", "dreams", "all test users", 0, 1.0), *gains))
    assert words.families(newer) == ("text", "memory", "dreams"), "of a report of another version"
    assert words.family_title("dreams") == "dreams"


def test_the_introduction_tells_what_the_tests_cover():
    assert "Users and training seeds are both treated as samples." in words.introduction(made_up_gains())
    assert "all 5 tests" in words.introduction(made_up_gains())
    one_seed = WhatHelps(tuple(replace(one, seeds=1, plain_seeds=1) for one in made_up_gains().gains))
    assert "one seed, so the tests do not cover" in words.introduction(one_seed)


def test_the_table_names_parts_and_findings():
    rows = words.differences(made_up_gains(), "text").texts
    assert rows[2] == (
        "Small", "Tower", "targets in no training history", "40", "0.0700", "0.0500", "+0.0200", "+0.0180 to +0.0220",
        "0.0004", "significantly better",
    )  # fmt: skip
    assert [row[0] for row in rows] == ["Small", "Small", "Small", "BM25"]


def test_the_chart_has_a_line_for_each_part():
    chart = words.chart(made_up_gains(), "text")
    assert [line.title for line in chart.lines] == [
        "all test users", "histories of fewer than five items", "targets in no training history",
    ]  # fmt: skip
    assert chart.lines[0].x == ("Small", "BM25")
    assert chart.lines[0].low == pytest.approx((0.002, -0.012))


def test_training_time_stands_beside_that_of_the_plain_one():
    table = words.training(made_up_gains(), {"tower": 100.0, "small": 150.0, "crops": 90.0})
    assert [row[0] for row in table.texts] == ["Small", "Crops"]
    assert table.texts[0][-1] == "1.50"
    assert words.training(made_up_gains(), {"small": 1.0}) is None


def test_the_page_and_the_card_hold_the_section():
    content = replace(made_up_content(), what_helps=made_up_gains())
    page = render_html(content, made_up_run())
    section = page[page.index('<section id="what-helps"') : page.index('<section id="answers"')]
    assert 'href="#what-helps"' in page
    assert section.count('role="img"') == 2
    assert section.count("<table") == 3
    assert "Mamba is not compared, because sasrec_softmax was not run: add it to RECIPES." in section
    assert "### What helps here" in model_card(content)
    text = markdown.what_helps(made_up_gains())
    assert text.index("**Text.**") < text.index("significantly better") < text.index("**Contrast.**")
    assert "Training time" not in text
    assert "Training time" in markdown.what_helps(made_up_gains(), made_up_run().fit_seconds)


def test_without_such_recommenders_there_is_no_section(tmp_path):
    write_made_up_lake(tmp_path)
    assert what_helps(tmp_path) is None, "of a lake of an earlier release"
    save_what_helps(WhatHelps(), tmp_path / "evaluation" / "what_helps.parquet")
    assert what_helps(tmp_path) is None
    assert collect(tmp_path, "Made_Up").what_helps is None
    assert "what-helps" not in render_html(made_up_content())
    assert "What helps" not in model_card(made_up_content())
    save_what_helps(made_up_gains(), tmp_path / "evaluation" / "what_helps.parquet")
    assert collect(tmp_path, "Made_Up").what_helps == made_up_gains()


def test_what_is_left_out_is_told_without_any_comparison():
    content = replace(made_up_content(), what_helps=WhatHelps(left_out=(("Mamba", "tower"),)))
    page = render_html(content)
    section = page[page.index('<section id="what-helps"') : page.index('<section id="answers"')]
    assert "Mamba is not compared" in section
    assert "<table" not in section


def test_the_figures_lie_beside_the_page(tmp_path):
    write_made_up_report(replace(made_up_content(), what_helps=made_up_gains()), tmp_path)
    lines = (tmp_path / "what_helps.csv").read_text().splitlines()
    assert len(lines) == 1 + 5
    assert lines[0].startswith('"recommender","title","family","plain"')
    write_made_up_report(made_up_content(), tmp_path)
    assert (tmp_path / "what_helps.csv").read_text().splitlines() == lines[:1]
