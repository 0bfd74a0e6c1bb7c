"""The section on identifiers and generation: what it is collected from, its tables and its drawings."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from report_contents import made_up_content, write_made_up_lake

from ml.reports.collect.report import collect
from ml.reports.content.generation import BeamWidth, Generation
from ml.reports.content.report import CodeLevel
from ml.reports.render.html import render_html
from ml.reports.render.markdown import report as markdown
from ml.reports.words import generation as words
from ml.tables import Table

pytestmark = pytest.mark.usefixtures("empty_drawings")

_ABOUT = b"raw2rank"


def _texts(table: Table | None) -> list[tuple[str, ...]]:
    assert table is not None
    return list(table.texts)


@pytest.fixture
def lake(tmp_path):
    """The made-up lake, whose model Tower searches with a beam of 30 among identifiers that were made unique."""
    write_made_up_lake(tmp_path)
    recipe = {"codes": "svd", "model": {"architecture": "tiger", "beam_width": 30}}
    (tmp_path / "models" / "tower" / "config.json").write_text(json.dumps({"best_epoch": 2, "recipe": recipe}))
    path = tmp_path / "codes" / "svd" / "codes.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"books": 3}))
    # before: items 3 and 4 shared their identifier, all others had one of their own
    values = np.arange(22)[:, None].astype(np.uint8)
    values[4] = 3
    np.save(tmp_path / "codes" / "svd" / "codes_before.npy", values)
    path = tmp_path / "rankings" / "tower.parquet"
    rankings = pq.read_table(path)
    about = json.loads(rankings.schema.metadata[_ABOUT]) | {
        "generated": {"lists": 6, "certified": 5, "repeated": 2, "filled": 0}
    }
    pq.write_table(rankings.replace_schema_metadata({_ABOUT: json.dumps(about)}), path)
    widths = [{"width": 10, "certified": 0.5, "equal": 0.75, "ndcg@10": 0.4}]
    widths += [{"width": 22, "certified": 1.0, "equal": 1.0, "ndcg@10": 0.5}]
    described = {"users": 6, "reference_width": 22, "reference_certified": 1.0, "widths": widths}
    (tmp_path / "rankings" / "tower.beam_widths.json").write_text(json.dumps(described))
    return tmp_path


def test_is_collected_from_what_the_assets_left(lake):
    (found,) = collect(lake, "Made_Up").generation
    assert (found.title, found.codes, found.levels, found.beam) == ("Tower", "svd", 3, 30)
    assert (found.lists, found.certified, found.repeated, found.filled) == (6, 5, 2, 0)
    assert (found.users, found.widths) == (6, (BeamWidth(10, 0.5, 0.75, 0.4), BeamWidth(22, 1.0, 1.0, 0.5)))


def test_a_shared_identifier_counts_as_a_hit_for_each_of_its_items(lake):
    (found,) = collect(lake, "Made_Up").generation
    # the list is 3, 4, 5, ...; targets are 3, 4, 5, 4, 7, 8, at the ranks
    by_item = [1, 2, 3, 2, 5, 6]
    # 3 and 4 are one tuple, so whatever follows moves up by one place
    by_tuple = [1, 1, 2, 1, 4, 5]
    figures = found.tuples
    assert figures is not None
    assert figures.shared == 2
    assert figures.ndcg == pytest.approx(np.mean(1 / np.log2(np.array(by_item) + 1)))
    assert figures.ndcg_of_tuples == pytest.approx(np.mean(1 / np.log2(np.array(by_tuple) + 1)))
    assert figures.recall == figures.recall_of_tuples == 1
    (
        (
            title,
            shared,
            *_,
        ),
    ) = _texts(words.inflation((found,)))
    assert (title, shared) == ("Tower", "2")


def test_without_a_generating_model_there_is_no_section(tmp_path):
    write_made_up_lake(tmp_path)
    content = collect(tmp_path, "Made_Up")
    assert content.generation == ()
    assert 'id="generation"' not in render_html(content)


def test_codes_that_kept_their_collisions_have_no_inflation(lake):
    (lake / "codes" / "svd" / "codes_before.npy").unlink()
    (found,) = collect(lake, "Made_Up").generation
    assert found.tuples is None
    assert words.inflation((found,)) is None


def test_a_model_that_scores_all_items_has_no_widths(lake):
    recipe = {"codes": "svd", "model": {"beam_width": 0, "dense_candidates": 9}}
    (lake / "models" / "tower" / "config.json").write_text(json.dumps({"best_epoch": 2, "recipe": recipe}))
    (found,) = collect(lake, "Made_Up").generation
    assert found.widths == (), "of an earlier recipe of that name"
    assert words.widths((found,)) is None
    assert words.width_charts((found,)) == ()
    ((*_, lists_by, _, _, _),) = _texts(words.decoding((found,)))
    assert lists_by == "scores of all items, the first 9 ranked by dot products"


def test_tables_say_how_lists_were_generated():
    searching = Generation("Tower", "svd", 4, 50, lists=200, certified=150, repeated=60, filled=0)
    scoring = Generation("Tree", "text", 3, 0)
    assert _texts(words.decoding((searching, scoring))) == [
        (
            "Tower",
            "svd",
            "4",
            "beam of 50",
            "150 (75.0\N{NO-BREAK SPACE}%)",
            "60 (30.0\N{NO-BREAK SPACE}%)",
            "0 (0.0\N{NO-BREAK SPACE}%)",
        ),
        ("Tree", "text", "3", "scores of all items", "", "", ""),
    ]


def test_charts_have_a_line_for_each_model_that_searches():
    content = made_up_content()
    certified, equal, ndcg = words.width_charts(content.generation)
    assert [line.title for line in certified.lines] == ["Tower"]
    assert certified.lines[0].x == (10.0, 50.0, 400.0)
    assert certified.lines[0].y == (0.4, 0.94, 1.0)
    assert equal.lines[0].y == (0.9, 0.99, 1.0)
    assert ndcg.lines[0].y == (0.058, 0.06, 0.06)


def test_books_are_drawn_beside_chance_up_to_the_level_that_distinguishes_all_items():
    levels = (
        CodeLevel(16, 16.0, 16, 0.2, 0.06, (9, 14, 16)),
        CodeLevel(700, 43.75, 90, 0.0, 0.0, (20, 180, 500)),
        CodeLevel(700, 1.0, 1, 0.0, 0.0, (20, 180, 500)),
    )
    (svd, *_) = made_up_content().codes
    found = words.book_chart((replace(svd, name="text", levels=levels), replace(svd, name="svd", levels=())))
    assert found is not None
    assert [(line.title, line.x, line.y) for line in found.lines] == [
        ("text", (1.0, 2.0), (0.2, 0.0)),
        ("text, by chance", (1.0, 2.0), (0.06, 0.0)),
    ]
    assert words.book_chart((replace(svd, levels=()),)) is None
    unknown = (replace(levels[0], neighbours=None, by_chance=None),)
    assert words.book_chart((replace(svd, levels=unknown),)) is None


def test_the_page_holds_the_section_and_its_drawings():
    page = render_html(made_up_content())
    section = page[page.index('<section id="generation"') : page.index('<section id="examples"')]
    assert section.count("<svg") >= 3
    assert 'href="#generation"' in page
    without = render_html(replace(made_up_content(), generation=()))
    assert "generation" not in without


def test_the_tables_stand_in_markdown():
    text = markdown.generation(made_up_content().generation)
    assert text.count("**") == 6
    assert "beam of 50" in text
