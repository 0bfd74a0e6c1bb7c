"""The check that leaderboard and report are up to date, and the sensor that has it evaluated again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG

from orchestration.automation import shown_staleness
from orchestration.automation.shown_staleness import CURRENT, WATCHED, finding, in_words, show_staleness
from orchestration.definitions import defs
from orchestration.execution.staleness import UP_TO_DATE, asset_graph
from orchestration.partitions import datasets
from orchestration.paths import RegistrationError

GRAPH = asset_graph()
LEADERBOARD, REPORT = WATCHED
SPLITS, TIES = dg.AssetKey(["marts", "splits"]), dg.AssetKey(["audits", "ties"])
SETTINGS = {SPLITS: "settings/dataset changed", LEADERBOARD: "marts/splits is made again"}
OLD = "out of date, make it again: settings/dataset changed"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(datasets.name, ["One", "Two"])
        yield instance


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> dict[dg.AssetKey, str]:
    """What is out of date, to be changed."""
    found = dict(SETTINGS)
    monkeypatch.setattr(shown_staleness, "reasons_now", lambda *_: found)
    return found


def make(instance: dg.DagsterInstance, dataset: str = "One") -> None:
    for key in WATCHED:
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=dataset))


def evaluated(instance: dg.DagsterInstance, dataset: str = "One") -> dict[dg.AssetKey, str]:
    """Run the job, and what the checks say."""
    job = defs.resolve_job_def("up_to_date")
    result = job.execute_in_process(instance=instance, tags={PARTITION_NAME_TAG: dataset})
    assert not result.get_asset_materialization_events()
    found = result.get_asset_check_evaluations()
    assert {one.severity for one in found} == {dg.AssetCheckSeverity.WARN}
    assert all(one.passed == (one.description == CURRENT) for one in found)
    return {one.asset_key: one.description for one in found}


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[list[str], str]:
    result = show_staleness(
        dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=defs.get_repository_def())
    )
    return [request.tags[PARTITION_NAME_TAG] for request in result.run_requests or ()], result.cursor


def test_a_changed_setting_is_a_warning_with_its_reason_until_it_is_made_again(instance, reasons) -> None:
    asked, cursor = tick(instance)
    assert asked == [], "nothing was made yet"
    make(instance)
    asked, cursor = tick(instance, cursor)
    assert asked == ["One"]
    # a preview, or a run that did not get so far
    assert tick(instance)[0] == ["One"]
    assert tick(instance, cursor)[0] == []
    assert evaluated(instance) == dict.fromkeys(WATCHED, OLD)
    asked, cursor = tick(instance, cursor)
    assert asked == [], "it was said"
    reasons.clear()
    asked, cursor = tick(instance, cursor)
    assert asked == ["One"]
    assert evaluated(instance) == dict.fromkeys(WATCHED, CURRENT)
    reasons.update(SETTINGS)
    assert tick(instance, cursor)[0] == ["One"], "the same change a second time"


def test_an_audit_makes_the_report_old_and_not_the_leaderboard(instance, reasons) -> None:
    reasons.clear()
    reasons[TIES] = "its code changed"
    make(instance)
    assert evaluated(instance) == {LEADERBOARD: CURRENT, REPORT: "out of date, make it again: its code changed"}


def test_a_dataset_that_is_being_made_is_left_alone(instance, reasons) -> None:
    for dataset in ("One", "Two"):
        make(instance, dataset)
    run = dg.DagsterRun("all_recipes", tags={"dagster/partition": "Two"}, status=dg.DagsterRunStatus.STARTED)
    instance.add_run(run)
    assert tick(instance)[0] == ["One"]


def test_what_is_current_and_was_never_looked_at_starts_no_run(instance, reasons) -> None:
    reasons.clear()
    make(instance)
    assert tick(instance)[0] == []


def test_what_is_not_made_of_what_is_there_is_found_from_the_records(instance) -> None:
    make(instance)
    assert finding(GRAPH, LEADERBOARD, shown_staleness.reasons_now(instance, GRAPH, "One")) != CURRENT


def test_a_damaged_dataset_is_named_and_the_others_go_on(instance, reasons, monkeypatch, tmp_path) -> None:
    def reasons_of(_instance, _graph, dataset: str) -> dict:
        if dataset == "One":
            raise RegistrationError("One is damaged")
        return reasons

    for dataset in ("One", "Two"):
        make(instance, dataset)
    monkeypatch.setattr(shown_staleness, "reasons_now", reasons_of)
    assert tick(instance)[0] == ["Two"]


def test_frequent_causes_come_first_and_the_rest_is_counted() -> None:
    keys = [dg.AssetKey(["models", str(number)]) for number in range(8)]
    reasons = dict(zip(keys, ["b changed"] * 3 + ["a changed"], strict=False))
    assert in_words(reasons) == "b changed (3 assets); a changed"
    many = {key: f"{letter} changed" for key, letter in zip(keys, "abcdefgh", strict=True)}
    assert in_words(many).endswith("f changed; and 2 more")


def test_the_checks_block_nothing_and_are_of_each_dataset() -> None:
    for key in WATCHED:
        check = GRAPH.get(dg.AssetCheckKey(key, UP_TO_DATE))
        assert not check.blocking
        assert check.partitions_def is not None
