"""The leaderboard's columns are defined once, and everything that shows them follows."""

from __future__ import annotations

import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_contents import made_up_run, write_leaderboard, write_made_up_lake
from report_page import Page

from ml.evaluation import columns
from ml.evaluation.columns import (
    COMPARISON,
    LEADERBOARD,
    RANKING,
    SIZES,
    TERMINAL,
    Column,
    Format,
    Printed,
    columns_of_depth,
    descriptions,
    printed_columns,
)
from ml.evaluation.leaderboard_text import to_text_table
from ml.reports.collect.report import collect
from ml.reports.render.html import render_html
from ml.reports.render.markdown import report as markdown
from ml.reports.render.markdown.model_card import model_card
from ml.reports.render.write import write_report

MADE_UP = Column(
    "made_up",
    pa.int64(),
    "ten times the rank",
    lambda row: 10 * row.position,
    "Tenfold rank",
    Format(lambda row, name: f"{row[name]} tenths"),
    (Printed(RANKING, 4.5), Printed(TERMINAL, 4.5), Printed(COMPARISON, 5.5), Printed(SIZES, 99)),
)


def test_every_column_is_described_once():
    names = [column.name for column in LEADERBOARD]
    assert len(set(names)) == len(names)
    assert list(descriptions()) == names
    assert all(column.description for column in LEADERBOARD)
    assert all(column.label for column in LEADERBOARD if column.printed)


@pytest.mark.parametrize("table", [RANKING, TERMINAL, COMPARISON, SIZES])
def test_places_in_a_printed_table_are_distinct(table):
    places = [one.place for column in LEADERBOARD for one in column.printed if one.table == table]
    assert len(set(places)) == len(places) > 3


def test_metrics_that_short_rankings_cannot_tell_have_no_column():
    left_out = {column.name for column in LEADERBOARD} - {column.name for column in columns_of_depth(20)}
    assert left_out == {f"{name}@100" for name in ("recall", "ndcg", "mrr", "map", "precision")}


def test_a_table_has_the_columns_that_the_leaderboard_has():
    labels = [column.label for column in printed_columns(RANKING, ["title", "position", "ndcg@10", "difference"])]
    assert labels == ["Rank", "Recommender", "nDCG@10", "Against the best baseline"]


@pytest.mark.usefixtures("empty_drawings")
def test_a_column_that_is_added_is_everywhere(tmp_path, monkeypatch):
    place = next(place for place, column in enumerate(LEADERBOARD) if column.name == "reference")
    monkeypatch.setattr(columns, "LEADERBOARD", (*LEADERBOARD[:place], MADE_UP, *LEADERBOARD[place:]))
    lake = tmp_path / "lake"
    write_made_up_lake(lake)
    leaderboard = lake / "evaluation" / "leaderboard.parquet"
    table = pq.read_table(leaderboard)
    assert table.schema.field("made_up").type == pa.int64()
    assert table["made_up"].to_pylist() == [10, 20]
    assert descriptions()["made_up"] == "ten times the rank"
    lines = to_text_table(table).splitlines()
    assert "nDCG@10  Tenfold rank  95 % interval" in lines[0]
    assert "  10 tenths  " in lines[2]
    content = collect(lake, "Made_Up")
    for text in (markdown.leaderboard(content.leaderboard), markdown.comparison(content.leaderboard)):
        assert "| Tenfold rank |" in text
        assert "| 10 tenths |" in text
    assert model_card(content).count("| Tenfold rank |") == 3
    page = Page(render_html(content, made_up_run()))
    assert page.text.count("Tenfold rank") == page.text.count("20 tenths") == 2
    (tmp_path / "report").mkdir()
    write_report(content, tmp_path / "report", leaderboard)
    with (tmp_path / "report" / "leaderboard.csv").open(newline="") as file:
        assert [row["made_up"] for row in csv.DictReader(file)] == ["10", "20"]
    assert pq.read_table(tmp_path / "report" / "leaderboard.parquet").equals(table)
    # the rows that a report holds are those of the file
    again = pq.read_table(write_leaderboard(content.leaderboard, tmp_path / "again.parquet"))
    assert again.equals(table)
