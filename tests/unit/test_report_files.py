"""What stands beside the page: figures for programs, and text that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from drawings import draw_nothing
from hypothesis import given
from hypothesis import strategies as st
from report_contents import (
    board,
    made_up_content,
    made_up_run,
    row,
    with_texts,
    write_made_up_lake,
    write_made_up_report,
)

from ml.audits.audit import Audit
from ml.evaluation.protocol_line import protocol
from ml.reports.collect.report import collect
from ml.reports.content.report import ReportContent
from ml.reports.render.write import (
    FILES,
    csv_text,
    plain_csv_text,
    report_facts,
    to_csv,
    write_report,
)


@pytest.fixture(scope="module", autouse=True)
def empty_drawings() -> Iterator[None]:
    """For the fixtures of this module, too."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        yield


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return made_up_content()


@pytest.fixture(scope="module")
def folder(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_made_up_report(content, folder, made_up_run())
    return folder


def rows_of(path) -> list[dict]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def test_every_file_is_written_and_no_other(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_equal_content_gives_equal_files(content, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_made_up_report(made_up_content(), tmp_path / name)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_the_run_changes_the_page_the_card_and_the_facts_alone(content, folder, tmp_path):
    write_made_up_report(content, tmp_path)
    changed = [name for name in FILES if (folder / name).read_bytes() != (tmp_path / name).read_bytes()]
    assert changed == ["report.html", "report.md", "report.json"]
    assert json.loads((tmp_path / "report.json").read_text())["run"] is None


def test_facts_for_a_comparison(content, folder):
    facts = json.loads((folder / "report.json").read_text())
    assert facts["dataset"] == "Made_Up"
    assert facts["protocol"] == {"split": "leave-one-out", "k-core": "5"}
    assert facts["data_versions"] == {"marts/interactions": "cd" * 16}
    assert facts["versions"] == {"numpy": "2.4.6"}
    assert facts["code_version"] == "0.1.0"
    assert facts["statistics"]["users"] == 150
    assert [(file["name"], file["sha256"], file["rows_read"]) for file in facts["files"]] == [
        ("Made_Up.json.gz", "ab" * 32, 1000)
    ]
    assert {"training_set", "settings", "test_users", "catalogue"} <= set(facts)
    assert facts["run"]["fit_seconds"] == {"tower": 130.0, "small": 12.0}


def test_what_is_no_number_in_json_is_null(content, tmp_path):
    strange = replace(content, statistics={"users": 1, "density": float("nan"), "other": float("inf")})
    write_made_up_report(strange, tmp_path)
    found = json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert found["statistics"] == {"users": 1, "density": None, "other": None}


def test_audits_come_back_as_they_were(content, folder):
    found = tuple(Audit.from_json(one) for one in json.loads((folder / "audits.json").read_text()))
    assert found == content.audits


def test_the_leaderboard_in_csv_and_parquet(content, folder):
    table = pq.read_table(folder / "leaderboard.parquet")
    assert table.to_pylist() == [entry.values for entry in content.leaderboard.rows]
    assert protocol(table) == {"split": "leave-one-out", "k-core": "5"}
    rows = rows_of(folder / "leaderboard.csv")
    assert [entry["title"] for entry in rows] == ["Tower", "Chain", "Small", "Popular"]
    assert [entry["kind"] for entry in rows] == ["model", "baseline", "model", "baseline"]
    for printed, held in zip(rows, table.to_pylist(), strict=True):
        assert list(printed) == list(held)
        for name, value in held.items():
            assert printed[name] == ("" if value is None else str(value)), name


def test_the_leaderboard_is_a_copy_of_the_file_that_was_collected(tmp_path):
    write_made_up_lake(tmp_path / "lake")
    collected = collect(tmp_path / "lake", "Made_Up")
    original = tmp_path / "lake" / "evaluation" / "leaderboard.parquet"
    (tmp_path / "report").mkdir()
    write_report(collected, tmp_path / "report", original)
    assert (tmp_path / "report" / "leaderboard.parquet").read_bytes() == original.read_bytes()
    assert report_facts(collected)["training_set"]


def test_slices_and_list_metrics_in_csv(content, folder):
    slices = rows_of(folder / "slices.csv")
    assert len(slices) == len(content.slices)
    first = content.slices[0]
    assert slices[0] == {
        "slice": first.slice,
        "bucket": first.bucket,
        "place": str(first.place),
        "users": str(first.users),
        "recommender": first.recommender,
        "ndcg@10": repr(first.headline.value),
        "ndcg@10_low": repr(first.headline.low),
        "ndcg@10_high": repr(first.headline.high),
        "recall@10": repr(first.recall),
    }
    lists = rows_of(folder / "list_metrics.csv")
    assert [entry["recommender"] for entry in lists] == ["tower", "chain", "small", "popular"]
    assert lists[0]["category_diversity@10"] == "0.4"
    assert lists[1]["category_diversity@10"] == "", "nothing where none is"


FORMULA = re.compile(r"(?:^|[;\t\r\n])[\s\"]*[=+\-@＝＋－＠]")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Tower", "Tower"),
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (' "=cmd|x', " \"'=cmd|x"),
        ("a;=1", "a;'=1"),
        ("a\t@b\n-c", "a\t'@b\n'-c"),
        ("a-b = c", "a-b = c"),
        ("'quoted'", "''quoted'"),
        ("−0.5", "−0.5"),
    ],
)
def test_no_text_is_a_formula(text, written):
    assert csv_text(text) == written
    assert plain_csv_text(written) == text


@given(st.text("=+-@＝＠'\"; \t\r\nax", max_size=12) | st.text(max_size=12))
def test_any_text_is_kept_and_none_is_a_formula(text):
    safe = csv_text(text)
    assert not FORMULA.search(safe)
    assert plain_csv_text(safe) == text
    written = to_csv(("a", "b"), [{"a": text, "b": 1.5}])
    (found,) = list(csv.DictReader(io.StringIO(written, newline="")))
    assert plain_csv_text(found["a"]) == text
    assert found["b"] == "1.5"


def test_hostile_text_in_a_report_is_no_formula_in_any_cell(content, tmp_path):
    hostile = with_texts(content, lambda text: f'=HYPERLINK("x");@{text}')
    write_made_up_report(hostile, tmp_path)
    cells = [
        cell
        for name in ("leaderboard.csv", "slices.csv", "list_metrics.csv")
        for entry in csv.reader(io.StringIO((tmp_path / name).read_text(encoding="utf-8"), newline=""))
        for cell in entry
    ]
    assert sum("HYPERLINK" in cell for cell in cells) > 100
    texts = [cell for cell in cells if not re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)]
    assert not any(FORMULA.search(cell) for cell in texts)


def test_files_hold_a_report_without_anything(tmp_path):
    write_made_up_report(ReportContent("Bare", board(row("chain", False, 0.05))), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert json.loads((tmp_path / "audits.json").read_text()) == []
    assert rows_of(tmp_path / "slices.csv") == []
