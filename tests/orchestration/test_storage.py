"""The storage that is kept open: the same files as Dagster's own, whole whatever happens to the process."""

import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage

from orchestration.execution.dagster_sqlite import _KEPT, KeptOpenEventLog, KeptOpenRuns, open_instance

KEY = dg.AssetKey(["marts", "splits"])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n")
    return folder


def record(instance: dg.DagsterInstance, partition: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=partition))


def recorded(instance: dg.DagsterInstance) -> list[str]:
    return [found.partition_key for found in instance.fetch_materializations(KEY, limit=100, ascending=True).records]


def open_databases(folder: Path) -> set[str]:
    """Databases below a folder that this process has open."""
    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return {path for path in links if path.startswith(f"{folder}{os.sep}") and path.endswith(".db")}


def in_a_fork(work) -> int:
    """The status of a copy of this process that has done some work."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def test_dagster_itself_reads_and_writes_the_same_files_meanwhile(home: Path) -> None:
    with open_instance(home) as kept, dg.DagsterInstance.from_config(str(home)) as plain:
        assert isinstance(kept.event_log_storage, KeptOpenEventLog)
        assert isinstance(kept.run_storage, KeptOpenRuns)
        record(kept, "first")
        assert recorded(plain) == ["first"]
        record(plain, "second")
        assert recorded(kept) == ["first", "second"]
        kept.add_dynamic_partitions("dataset", ["Small"])
        assert plain.get_dynamic_partitions("dataset") == ["Small"]
        plain.run_storage.set_cursor_values({"place": "here"})
        assert kept.run_storage.get_cursor_values({"place"}) == {"place": "here"}
        assert kept.get_ref().storage_data.config_yaml == plain.get_ref().storage_data.config_yaml
    with open_instance(home) as again:
        assert recorded(again) == ["first", "second"]


def test_a_table_that_comes_later_is_found(home: Path) -> None:
    with open_instance(home) as instance:
        storage = instance.event_log_storage
        assert storage.has_table("dynamic_partitions")
        assert not storage.has_table("of_a_later_version")
        with storage.index_connection() as connection:
            connection.exec_driver_sql("create table of_a_later_version (name text)")
        assert storage.has_table("of_a_later_version")


def test_what_a_killed_process_recorded_is_there(home: Path) -> None:
    def killed() -> None:
        with open_instance(home) as instance:
            record(instance, "before the end")
            os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(in_a_fork(killed)) == signal.SIGKILL
    with open_instance(home) as instance:
        assert recorded(instance) == ["before the end"]


def test_what_a_run_sets_out_to_make_is_on_the_disk_before_it_makes_anything(home: Path, tmp_path: Path) -> None:
    alone = tmp_path / "index.db"

    @dg.asset
    def made() -> None:
        # without the log beside it, which is written to the disk at leisure
        shutil.copyfile(home / "history" / "runs" / "index.db", alone)

    with open_instance(home) as instance:
        record(instance, "another")
        assert dg.materialize([made], instance=instance).success
    with closing(sqlite3.connect(alone)) as connection:
        planned = connection.execute(
            "select asset_key from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'"
        ).fetchall()
    assert planned == [('["made"]',)]


def test_both_sides_of_a_fork_use_connections_of_their_own(home: Path) -> None:
    with open_instance(home) as instance:
        record(instance, "before")

        def write() -> None:
            assert recorded(instance) == ["before"]
            record(instance, "there")

        assert in_a_fork(write) == 0
        record(instance, "here")
        assert recorded(instance) == ["before", "there", "here"]
        with instance.event_log_storage.index_connection() as connection:
            assert connection.exec_driver_sql("pragma integrity_check").scalar() == "ok"


def test_only_so_many_databases_are_kept_open_and_none_in_the_end(home: Path) -> None:
    runs = [f"run-{number}" for number in range(_KEPT + 3)]
    with open_instance(home) as instance:
        for run in [*runs, *runs]:
            with instance.event_log_storage.run_connection(run) as connection:
                assert connection.exec_driver_sql("select count(*) from event_logs").scalar() == 0
        assert len(open_databases(home / "history" / "runs")) == _KEPT
    assert open_databases(home) == set()


def test_a_storage_that_the_configuration_names_is_taken(home: Path) -> None:
    consolidated = {
        "module": ConsolidatedSqliteEventLogStorage.__module__,
        "class": "ConsolidatedSqliteEventLogStorage",
    }
    lines = [f"  {name}: {value}" for name, value in consolidated.items()]
    lines.append(f"  config: {{base_dir: {home / 'elsewhere'}}}")
    (home / "dagster.yaml").write_text("\n".join(["telemetry: {enabled: false}", "event_log_storage:", *lines]) + "\n")
    with open_instance(home) as instance:
        assert isinstance(instance.event_log_storage, ConsolidatedSqliteEventLogStorage)
        record(instance, "first")
        assert recorded(instance) == ["first"]
    assert list((home / "elsewhere").glob("*.db"))
