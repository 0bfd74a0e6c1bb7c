"""Making datasets known to Dagster, by the job and by the sensor."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from workbench import write_small_dump

from orchestration.automation.registration import find, register, register_landed
from orchestration.definitions import defs
from orchestration.partitions import datasets
from orchestration.paths import Workspace


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def known(instance: dg.DagsterInstance) -> list[str]:
    return sorted(instance.get_dynamic_partitions(datasets.name))


def launched(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return register.execute_in_process(instance=instance, raise_on_error=False)


def land(home: Path, name: str = "Shop") -> None:
    write_small_dump(home / "landing" / name, name)


def test_the_job_registers_what_has_landed(home: Path, instance: dg.DagsterInstance) -> None:
    land(home)
    elsewhere = Workspace.current().dataset("Elsewhere")
    elsewhere.register(home / "dumps")
    for _ in range(2):
        assert launched(instance).success
        assert known(instance) == ["Elsewhere", "Shop"]


def test_the_job_says_what_to_do_in_an_empty_workspace(home: Path, instance: dg.DagsterInstance) -> None:
    found = launched(instance)
    assert not found.success
    (failure,) = [event.step_failure_data for event in found.all_events if event.is_step_failure]
    assert "put the files of a dataset into a folder with its name there" in failure.user_failure_data.description
    assert known(instance) == []


@pytest.mark.parametrize(
    ("folder", "file", "said"),
    [
        ("my data", "my data.csv", "'my data' cannot name a dataset"),
        ("Shop", "Other.json.gz", "landing/Shop holds no files of a dataset Shop"),
        ("Empty", None, "landing/Empty holds no files of a dataset Empty"),
    ],
)
def test_a_folder_that_is_passed_over_is_named(home: Path, instance, folder: str, file: str | None, said: str) -> None:
    (home / "landing" / folder).mkdir(parents=True)
    if file:
        (home / "landing" / folder / file).write_bytes(b"")
    found = find(Workspace.current())
    assert found.datasets == ()
    assert said in found.passed_over[0]
    ticked = register_landed(dg.build_sensor_context(instance=instance))
    assert said in ticked.skip_reason.skip_message


def test_the_sensor_registers_asks_for_no_run_and_writes_nothing_itself(home: Path, instance) -> None:
    land(home)
    ticked = register_landed(dg.build_sensor_context(instance=instance))
    (request,) = ticked.dynamic_partitions_requests
    assert list(request.partition_keys) == ["Shop"]
    assert not ticked.run_requests
    assert known(instance) == []
    instance.add_dynamic_partitions(datasets.name, ["Shop"])
    again = register_landed(dg.build_sensor_context(instance=instance))
    assert not again.dynamic_partitions_requests


def test_the_jobs_on_a_dataset_say_where_to_begin() -> None:
    for name in ("everything", "all_recipes", "data"):
        description = defs.resolve_job_def(name).description
        assert "under Partitions" in description
        assert "launch the job register" in description
