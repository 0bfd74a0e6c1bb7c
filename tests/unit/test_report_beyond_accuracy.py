"""The section on goals beyond accuracy: what it is collected from, its tables, its drawings, the files beside it."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_contents import made_up_content, trade_offs, write_made_up_lake, write_made_up_report

from ml.data.files import DamagedFile
from ml.data.item_text import save_item_text
from ml.data.training_set import TrainingSet
from ml.evaluation.trade_offs.content import TradeOffs
from ml.evaluation.trade_offs.files import JSON_FILE, POINTS, load_trade_offs, save_trade_offs
from ml.reports.collect.beyond_accuracy import beyond_accuracy
from ml.reports.collect.report import collect
from ml.reports.content.beyond_accuracy import ListedItem
from ml.reports.render.html import render_html
from ml.reports.render.markdown import report as markdown
from ml.reports.render.markdown.model_card import model_card
from ml.reports.words import beyond_accuracy as words

pytestmark = pytest.mark.usefixtures("empty_drawings")


@pytest.fixture
def lake(tmp_path):
    """The made-up lake with trade-offs, and categories of its items."""
    write_made_up_lake(tmp_path)
    folder = tmp_path / "evaluation" / "beyond_accuracy"
    folder.mkdir()
    save_trade_offs(trade_offs(), folder)
    text = tmp_path / "training_sets" / "item_text"
    text.mkdir()
    identities = TrainingSet.load(tmp_path / "training_sets" / "sequences").item_ids
    texts = [f"Title: t Brand: Unknown Category: {'Pens|Office' if item else 'Unknown'} Price: Unknown"
             for item in range(len(identities))]  # fmt: skip
    save_item_text(text, identities, texts)
    return tmp_path


def test_is_collected_with_titles_and_categories(lake):
    found = beyond_accuracy(lake)
    assert found is not None
    assert found.trade_offs == trade_offs()
    (user,) = found.users
    assert user.user_id == "u1"
    assert user.before == (ListedItem("i02", None, "Pens|Office"), ListedItem("i01", "Item 1", "Pens|Office"))
    assert user.after == (ListedItem("i01", "Item 1", "Pens|Office"), ListedItem("i00", None, None))


def test_without_series_there_is_no_section(lake):
    folder = lake / "evaluation" / "beyond_accuracy"
    save_trade_offs(TradeOffs(4, 2), folder)
    assert beyond_accuracy(lake) is None
    (folder / JSON_FILE).unlink()
    assert beyond_accuracy(lake) is None, "nor of a lake of an earlier release"
    (folder / JSON_FILE).write_text("{")
    with pytest.raises(DamagedFile):
        beyond_accuracy(lake)
    content = replace(made_up_content(), beyond_accuracy=None)
    assert "beyond-accuracy" not in render_html(content)
    assert "Beyond accuracy" not in model_card(content)


def test_the_report_collects_the_section(tmp_path):
    write_made_up_lake(tmp_path)
    assert collect(tmp_path, "Made_Up").beyond_accuracy is None
    folder = tmp_path / "evaluation" / "beyond_accuracy"
    folder.mkdir()
    save_trade_offs(replace(trade_offs(), examples=None), folder)
    assert collect(tmp_path, "Made_Up").beyond_accuracy.trade_offs.series == trade_offs().series


def test_goals_that_are_left_out_are_named_without_any_series():
    left_out = replace(made_up_content().beyond_accuracy, trade_offs=TradeOffs(4, 2, left_out=("no text",)), users=())
    page = render_html(replace(made_up_content(), beyond_accuracy=left_out))
    section = page[page.index('<section id="beyond-accuracy"') : page.index('<section id="examples"')]
    assert "Left out: <bdi>no text</bdi>." in section
    assert "<table" not in section
    assert "Left out: no text." in markdown.beyond_accuracy(left_out.trade_offs)


def test_a_line_of_the_chart_is_a_series():
    diversity, popularity = (words.chart(trade_offs(), goal) for goal in words.goals(trade_offs()))
    assert [line.title for line in diversity.lines] == ["MMR of Tower", "PPO of Student"]
    line = diversity.lines[0]
    assert line.x == pytest.approx((0.4, 0.6, 0.8))
    assert line.y == pytest.approx((0.06, 0.04, 0.02))
    assert line.low == pytest.approx((0.056, 0.036, 0.016))
    assert popularity.x == "Popularity percentile (lower is better)"
    assert (diversity.y, diversity.title) == ("nDCG@10", "nDCG@10 against intra-list distance by category")


def test_costs_are_those_of_the_chosen_tradeoff():
    table = words.costs(trade_offs())
    assert [row[1] for row in table.texts] == ["MMR of Tower", "Greedy of Tower"], "no weight of PPO was chosen"
    space = "\N{NO-BREAK SPACE}"
    assert table.texts[0][2:] == (
        "0.5", f"4.1{space}%", f"33.3{space}%", f"28.3{space}% to 38.3{space}%", "0.4000", "+0.2000",
        "+0.1900 to +0.2100", f"+50.0{space}%",
    )  # fmt: skip
    assert table.texts[1][-1] == f"−50.0{space}%"
    assert "512 validation users" in table.note
    assert words.costs(replace(trade_offs(), series=trade_offs().series[1:2])) is None


def test_hypervolumes_state_their_references():
    table = words.hypervolumes(trade_offs())
    assert "0.4000 for intra-list distance by category; 0.9000 for popularity percentile" in table.note
    assert table.texts[1] == (
        "Intra-list distance by category", "PPO of Student", "aligned policies", "Student", "3", "0.01500",
        "0.01400 to 0.01600",
    )  # fmt: skip
    (difference,) = words.differences(trade_offs()).texts
    assert difference[1:4] == ("PPO of Student", "MMR of Tower", "0.00300")
    assert difference[-1] == "larger"
    assert words.differences(replace(trade_offs(), differences=())) is None


def test_all_points_are_listed_by_goal():
    diversity, popularity = (words.points(trade_offs(), goal) for goal in words.goals(trade_offs()))
    assert [row[1] for row in diversity.texts] == [
        "start", "0.5, chosen", "1", "start", "weight 0.5, chosen", "weight 1",
    ]  # fmt: skip
    assert [row[-1] for row in popularity.texts] == ["yes", "", "yes"]
    assert diversity.columns.count("Popularity percentile") == popularity.columns.count("Popularity percentile") == 1


def test_the_page_holds_tables_drawings_and_lists():
    page = render_html(made_up_content())
    section = page[page.index('<section id="beyond-accuracy"') : page.index('<section id="examples"')]
    assert 'href="#beyond-accuracy"' in page
    assert section.count('role="img"') == 2
    assert section.count("<table") == 5
    assert section.index("Before") < section.index("Blue pens") < section.index("After") < section.index("Paper, A4")
    assert "### Beyond accuracy" in model_card(made_up_content())


def test_the_figures_lie_beside_the_page(tmp_path):
    content = made_up_content()
    write_made_up_report(content, tmp_path)
    described = json.loads((tmp_path / "trade_offs.json").read_text())
    (tmp_path / JSON_FILE).write_text(json.dumps({"format": "raw2rank-trade-offs-1", **described}))
    assert load_trade_offs(tmp_path) == content.beyond_accuracy.trade_offs
    lines = (tmp_path / "trade_offs.csv").read_text().splitlines()
    assert len(lines) == 1 + 9
    assert lines[0].startswith('"series","title","kind","goal"')
    write_made_up_report(replace(content, beyond_accuracy=None), tmp_path)
    assert (tmp_path / "trade_offs.json").read_text() == "null\n"
    assert (tmp_path / "trade_offs.csv").read_text().splitlines() == lines[:1]


def test_the_table_of_points_is_saved_whole(tmp_path):
    save_trade_offs(trade_offs(), tmp_path)
    assert pq.read_schema(tmp_path / "points.parquet").equals(POINTS, check_metadata=False)
    assert pa.types.is_boolean(POINTS.field("chosen").type)
