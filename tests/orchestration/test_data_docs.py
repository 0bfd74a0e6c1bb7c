"""The table of `make check-data`: what it says of rules, tests and what was not reached; and the Data Docs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

# the graph that the table is in the order of
import orchestration.definitions  # noqa: F401
from orchestration.commands import check_data
from orchestration.commands.check_data import FAILED, NOT_CHECKED, PASSED, WARNED, Line, read_lines, to_text
from orchestration.contracts.checks import load_contracts, validate
from orchestration.contracts.data_docs import write_data_docs
from orchestration.contracts.frames import keep_result, results_folder
from orchestration.execution.staleness import asset_graph
from orchestration.paths import Workspace

NAME = "Small"
CONTRACTS = {contract.name: contract for contract in load_contracts()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance() -> dg.DagsterInstance:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("dataset", [NAME])
        yield instance


def version(number: str) -> dict[str, str]:
    return {"dagster/data_version": number, "dagster/data_version_is_user_provided": "true"}


def made(instance: dg.DagsterInstance, *keys: str) -> None:
    """Say that assets were made of what is there, with the code that is there."""
    graph = asset_graph()
    for name in keys:
        key = dg.AssetKey(name.split("/"))
        tags = version("1") | {"dagster/code_version": graph.get(key).code_version}
        for parent in graph.get(key).parent_keys:
            record = instance.get_latest_data_version_record(parent, is_source=None, partition_key=NAME)
            tags[f"dagster/input_data_version/{parent.to_user_string()}"] = "1"
            tags[f"dagster/input_event_pointer/{parent.to_user_string()}"] = str(record.storage_id)
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=NAME, tags=tags))
        # an asset without files counts as not made
        place = Workspace.current().dataset(NAME).asset(*key.path)
        place.mkdir(parents=True, exist_ok=True)


def observed(instance: dg.DagsterInstance, *keys: str) -> None:
    for name in keys:
        instance.report_runless_asset_event(dg.AssetObservation(name.split("/"), partition=NAME, tags=version("1")))


def said(instance: dg.DagsterInstance, name: str, check: str, passed: bool, **metadata) -> None:
    """Say what a check found on what was made last."""
    key = dg.AssetKey(name.split("/"))
    (record,) = instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=[NAME]), limit=1).records
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=check,
            passed=passed,
            severity=dg.AssetCheckSeverity.ERROR,
            partition=NAME,
            metadata=metadata,
            target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            ),
        )
    )


def files(**changed: list) -> pd.DataFrame:
    columns = {
        "source_file": ["Small.json.gz"],
        "bytes": [900],
        "sha256": ["aa"],
        "layout": ["amazon-2018"],
        "lines_read": [1000],
        "rows_read": [1000],
        "rows_kept": [1000],
        "rows_rejected": [0],
        "rows_repeated": [0],
        "problem": [None],
        "ordered_by": ["time"],
        "columns_used": [None],
        "unused_columns": [None],
        "reading_warnings": [None],
        "reject_reasons": [""],
    }
    return pd.DataFrame({**columns, **changed})


def landed(instance: dg.DagsterInstance, **changed: list) -> None:
    """Reviews that landed and were held against their contract."""
    observed(instance, "raw/reviews")
    made(instance, "landing/reviews")
    result = validate(CONTRACTS["landing/reviews"], files(**changed))
    keep_result(result, NAME)
    failed = dg.MetadataValue.json([entry.to_json() for entry in result.results if not entry.passed])
    said(instance, "landing/reviews", "contract", result.kept, failed_rules=failed, note="")


def test_each_rule_has_its_line(home: Path, instance: dg.DagsterInstance) -> None:
    problem = "cut short after 1,000 lines: fetch it again"
    landed(instance, problem=[problem], rows_read=[1020], rows_rejected=[20])
    lines, notes = read_lines(instance, NAME)
    found = {line.rule: line for line in lines if line.asset == "landing/reviews"}
    assert list(found) == [rule.id for rule in CONTRACTS["landing/reviews"].rules]
    whole, share = found["file_is_whole"], found["rejected_below_1_percent"]
    assert (whole.result, whole.severity, whole.rows) == (FAILED, "critical", 1)
    assert problem in whole.finding
    assert "Small.json.gz" in whole.finding
    assert whole.remedy
    assert (share.result, share.severity, share.rows) == (WARNED, "warning", 1)
    assert {line.result for line in found.values() if line not in (whole, share)} == {PASSED}
    others = {line.result for line in lines if line.asset != "landing/reviews"}
    assert others == {NOT_CHECKED}, "what was never made was never checked"
    assert notes == []
    text = to_text(lines, notes, verbose=True)
    assert re.search(r"^landing/reviews +file_is_whole +critical +failed +1$", text, re.MULTILINE)
    assert "FAILED landing/reviews: file_is_whole" in text
    assert re.search(r"1 failed, 1 warned, \d+ not checked$", text)
    short = to_text(lines, notes)
    assert text.endswith(short)
    assert "no_file_twice" not in short
    assert "20 of 1,020 rows of Small.json.gz (1.96 %) were unreadable; the limit is 1 %" in short


def test_every_layer_is_there_in_the_order_of_the_data(home: Path, instance: dg.DagsterInstance) -> None:
    lines, _ = read_lines(instance, NAME)
    layers = list(dict.fromkeys(line.asset.split("/")[0] for line in lines))
    assert layers == ["landing", "staging", "intermediate", "marts"]
    contracts = {name for name in CONTRACTS if not name.startswith("training_sets/")}
    assert contracts <= {line.asset for line in lines}
    assert any(line.rule == "assert_no_row_is_unexplained" for line in lines), "dbt tests are shown"


def test_a_failed_dbt_test_is_shown_with_its_rows(home: Path, instance: dg.DagsterInstance) -> None:
    observed(instance, "raw/reviews", "raw/metadata")
    made(instance, "settings/dataset", "landing/reviews", "landing/metadata", "staging/stg_reviews")
    said(instance, "staging/stg_reviews", "stg_reviews_primary_key", False, **{"dagster_dbt/failed_row_count": 12})
    lines, _ = read_lines(instance, NAME)
    line = next(line for line in lines if line.rule == "stg_reviews_primary_key")
    assert (line.result, line.rows, line.severity) == (FAILED, 12, "critical")
    assert line.remedy
    assert "Rows that fail it: 12." in to_text(lines)


def test_what_was_checked_on_data_that_has_changed_since_counts_as_not_checked(
    home: Path, instance: dg.DagsterInstance
) -> None:
    landed(instance)
    lines, _ = read_lines(instance, NAME)
    assert {line.result for line in lines if line.asset == "landing/reviews"} == {PASSED}
    instance.report_runless_asset_event(dg.AssetObservation(["raw", "reviews"], partition=NAME, tags=version("2")))
    lines, _ = read_lines(instance, NAME)
    assert {line.result for line in lines if line.asset == "landing/reviews"} == {NOT_CHECKED}


def test_the_data_docs_need_no_network(home: Path, tmp_path: Path) -> None:
    keep_result(validate(CONTRACTS["landing/reviews"], files(problem=["<b>cut</b> \\1 short"])), NAME)
    line = Line(
        "landing/reviews", "file_is_whole", "critical", FAILED, 1, "problem = <b>cut</b> \\1 short", "Fetch it."
    )
    rows = [(*line.cells(), f"{line.finding} {line.remedy}")]
    index = write_data_docs(
        tmp_path / "docs",
        "Checks of Small",
        results_folder(Workspace.current().dataset(NAME)),
        ["landing/metadata", "landing/reviews"],
        (*check_data.HEADER, "what to know"),
        rows,
    )
    page = tmp_path / "docs" / "landing" / "reviews.html"
    assert 'href="landing/reviews.html"' in index.read_text()
    assert "landing/metadata.html" not in index.read_text(), "there is no result to show"
    for path in (index, page):
        text = path.read_text()
        assert not re.search(r"https?://|<script|<link|<img", text), path
        assert "<b>cut" not in text
        assert "&lt;b&gt;cut&lt;/b&gt; \\1 short" in text
    assert "file_is_whole" in page.read_text()
    assert "column values to be null" in page.read_text()


def test_a_page_shows_what_was_asked_and_found(home: Path, tmp_path: Path) -> None:
    keep_result(validate(CONTRACTS["landing/reviews"], files(rows_kept=[0], rows_rejected=[1000])), NAME)
    results = results_folder(Workspace.current().dataset(NAME))
    kept = json.loads((results / "landing" / "reviews.json").read_text())
    write_data_docs(tmp_path / "docs", "Checks of Small", results, ["landing/reviews"], check_data.HEADER, [])
    text = (tmp_path / "docs" / "landing" / "reviews.html").read_text()
    holding = sum(found["success"] for found in kept["results"])
    assert 0 < holding < len(kept["results"])
    assert f"{holding} of {len(kept['results'])} rules hold." in text
    assert text.count("<section>") == len(kept["results"])
    assert text.count('class="badge passed"') == holding
    for found in kept["results"]:
        assert f"<h2>{found['expectation_config']['meta']['id']} " in text
    assert "Values that break it" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "../elsewhere"], "cannot name a dataset"),
        (["--k-core", "-1"], "K_CORE"),
        (["--recipes", "gpt9"], "there is no recipe gpt9"),
    ],
)
def test_what_is_not_possible_is_wrong_usage(
    home: Path, capsys: pytest.CaptureFixture, options: list[str], message: str
) -> None:
    assert check_data.main(options) == 2
    assert message in capsys.readouterr().err
    assert not any(home.iterdir())


def test_an_option_that_does_not_exist_is_wrong_usage(home: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        check_data.main(["--nonsense"])
    assert caught.value.code == 2
    assert "make check-data" in capsys.readouterr().err
