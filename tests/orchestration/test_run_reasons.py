"""Why a run failed, from the events that Dagster records, and from a run as the UI starts it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from orchestration.execution.executor import one_run_a_dataset
from orchestration.execution.run_reasons import Reasons


@dg.asset
def plain() -> None:
    raise dg.Failure(description="plain: the dump is empty; download it again", allow_retries=False)


@dg.asset
def full() -> None:
    raise OSError(28, "No space left on device", "/w/x.parquet")


@dg.asset
def odd() -> None:
    raise KeyError("format")


@dg.asset(check_specs=[dg.AssetCheckSpec("contract", asset="checked", blocking=True)])
def checked():
    yield dg.MaterializeResult(
        check_results=[dg.AssetCheckResult(passed=False, check_name="contract", description="5 rows break it")]
    )


@dg.asset(deps=[checked])
def below() -> None:
    raise AssertionError("not reached")


def told(assets: list, home: Path) -> list[str]:
    result = dg.materialize(assets, instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)
    reasons = Reasons(home)
    for event in result.all_events:
        reasons.take(event)
    return reasons.told()


def test_each_kind_of_failure(tmp_path: Path) -> None:
    assert told([plain], tmp_path) == ["plain: the dump is empty; download it again"]
    (said,) = told([full], tmp_path)
    assert said.startswith("the disk that holds /w/x.parquet is full")
    (said,) = told([odd], tmp_path)
    assert said.startswith("odd: KeyError: 'format' (unexpected error; the stack trace is in ")
    assert told([checked, below], tmp_path) == ["checked: check contract failed\n5 rows break it"]


def test_a_sound_run_has_none(tmp_path: Path) -> None:
    @dg.asset
    def sound() -> None:
        return None

    assert told([sound], tmp_path) == []


def broken_job() -> dg.JobDefinition:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["Small"]))
    def greedy() -> None:
        raise MemoryError

    definitions = dg.Definitions(assets=[greedy], jobs=[dg.define_asset_job("all")], executor=one_run_a_dataset)
    return definitions.resolve_job_def("all")


def test_the_ui_shows_the_reason_as_the_last_event_before_the_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    job = dg.reconstructable(broken_job)
    with dg.instance_for_test() as instance:
        result = dg.execute_job(job, instance, tags={"dagster/partition": "Small"}, raise_on_error=False)
        messages = [entry.message for entry in instance.all_logs(result.run_id) if entry.is_dagster_event]
    (reason,) = [message for message in messages if message.startswith("This run failed: ")]
    assert "the machine ran out of memory" in reason
    assert messages.index(reason) == len(messages) - 2
