"""A workspace may have any name that DuckDB can handle; what lies in it is found there and nowhere else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from costs import others_slow

from ml.data.build_training_set import build_training_set
from ml.data.database import connect, quoted
from ml.data.landing.file_lines import LandingError
from ml.data.versions import VERSIONS, current_version, versioned_folder
from orchestration.commands.run import configure_instance
from orchestration.contracts.data_docs import write_data_docs
from orchestration.execution.crash_recovery import WarehouseBusy, clean_tree, missing, usable_warehouse
from orchestration.execution.dagster_sqlite import open_instance, reference_for_services
from orchestration.faults import reason
from orchestration.paths import LONGEST_DATASET_NAME, DatasetPaths, Workspace, WorkspaceError, check_dataset_name
from orchestration.warehouse.dbt_process import places

NAMES = [
    "a#b",
    "#",
    "a%20b",
    "%",
    "a%3Fb",
    "a b",
    " ",
    "it's",
    'q"q',
    "[x]",
    "[a-",
    "*",
    "{x}",
    "{{ y }}",
    "{% raw %}",
    "year=2020",
    "ünï 日本",
    "a;b",
    "$HOME",
    "~",
    "-n",
    "a&b+c@d:e",
    "sqlite:",
]


# the slow tests have those, too, whose characters are among the others here
NAMES_OF_ONE_KIND = ["#", "%", "a%3Fb", "a b", "[a-", "{x}", "{% raw %}", "a;b", "~", "a&b+c@d:e"]


@pytest.fixture(params=others_slow(NAMES, *(name for name in NAMES if name not in NAMES_OF_ONE_KIND)))
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / request.param / "workspace")
    workspace.check()
    return workspace


def assert_nothing_beside(workspace: Workspace, tmp_path: Path) -> None:
    assert [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(workspace.home)] == []


# a record takes seconds to be made, so those of Dagster's own code stand together
@pytest.mark.parametrize("name", ["a%20b [x]*{{ y }}", "%3F#;'\"ü"])
def test_the_record_of_runs(name: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / name / "workspace")
    configure_instance(workspace)
    key = dg.AssetKey("made")
    with open_instance(workspace.dagster_home) as instance:
        assert not instance.telemetry_enabled
        instance.report_runless_asset_event(dg.AssetMaterialization(key))
    # as the web server, the daemon and the runs that they start open it
    with dg.DagsterInstance.from_ref(reference_for_services(workspace.dagster_home)) as instance:
        assert instance.get_latest_materialization_event(key) is not None
    assert {path.name for path in workspace.dagster_home.rglob("*.db")} >= {"runs.db", "index.db", "schedules.db"}
    assert_nothing_beside(workspace, tmp_path)


def test_the_warehouse(workspace: Workspace, tmp_path: Path) -> None:
    from dbt.adapters.duckdb.credentials import DuckDBCredentials

    paths = workspace.dataset("Small")
    paths.warehouse.parent.mkdir(parents=True)
    assert not usable_warehouse(paths)
    with places(paths) as where:
        told = where["RAW2RANK_WAREHOUSE"]
        assert DuckDBCredentials.path_derived_database_name(told) == "Small"
        with connect(Path(told)) as connection:
            connection.execute("create table kept as select 1 as x")
        assert where["RAW2RANK_LAKE"] == str(paths.lake)
    assert usable_warehouse(paths)
    with connect(paths.warehouse, read_only=True) as connection:
        paths.lake.mkdir(parents=True)
        connection.execute(f"copy kept to '{quoted(paths.lake / 'kept.parquet')}' (format parquet)")
    assert pq.read_table(paths.lake / "kept.parquet").to_pydict() == {"x": [1]}
    assert_nothing_beside(workspace, tmp_path)


@pytest.mark.parametrize("at", [0, 4200], ids=["no database at all", "a block with another checksum"])
def test_a_damaged_warehouse_is_taken_for_no_locked_one(at: int, tmp_path: Path) -> None:
    # the names of file and block have a lock in them
    paths = Workspace(tmp_path).dataset("Clocks")
    with connect_fresh(paths) as connection:
        connection.execute("create table numbers as select range as number from range(1000)")
    with open(paths.warehouse, "r+b") as file:
        file.seek(at)
        file.write(bytes(range(100)))
    assert not usable_warehouse(paths)
    assert not paths.warehouse.exists()


def test_a_warehouse_that_another_program_has_open_stays(tmp_path: Path) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    with connect_fresh(paths):
        pass
    opened = f"import duckdb; held = duckdb.connect({str(paths.warehouse)!r}); print('open', flush=True); input()"
    command = [sys.executable, "-c", opened]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(WarehouseBusy, match=r"another program has .*Small\.duckdb open"):
            usable_warehouse(paths)
        other.communicate("\n")
    assert usable_warehouse(paths)


def connect_fresh(paths: DatasetPaths) -> AbstractContextManager:
    paths.warehouse.parent.mkdir(parents=True)
    return connect(paths.warehouse)


def test_what_is_read_from_the_lake(workspace: Workspace, tmp_path: Path) -> None:
    table = pa.table(
        {
            "user_id": ["u", "u", "u", "v", "v", "v"],
            "item_id": ["a", "b", "c", "c", "b", "a"],
            "position": [1, 2, 3, 1, 2, 3],
            "split": ["train", "validation", "test"] * 2,
        }
    )
    plain = tmp_path / "splits.parquet"
    splits = workspace.dataset("Small").table("marts", "splits")
    splits.parent.mkdir(parents=True)
    for path in (plain, splits):
        pq.write_table(table, path)
    made = [build_training_set("Small", path, {"split": "leave-one-out"}) for path in (plain, splits)]
    assert made[0].digest() == made[1].digest()


def test_its_pages_and_its_registration(workspace: Workspace) -> None:
    paths = workspace.dataset("Small")
    assert write_data_docs(paths.data_docs, "Checks", workspace.home, [], ("a",), [("b",)]).is_file()
    paths.register(workspace.home / "dumps")
    assert paths.dumps == workspace.home / "dumps"
    assert workspace.registered() == ["Small"]


@pytest.mark.parametrize("name", ["a?b", "a\\b", "a\nb", "a\x7fb", os.fsdecode(b"a\xffb")])
def test_a_name_that_duckdb_cannot_handle_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="RAW2RANK_HOME"):
        Workspace(tmp_path / name).check()
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_that_cannot_be_is_said_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for home, word in (
        (file, "move the file away"),
        (file / "x", "move the file away"),
        (tmp_path / ("n" * 300), "nnn"),
    ):
        with pytest.raises(OSError) as raised:  # noqa: PT011 - the number differs
            Workspace(home).check()
        said = reason(raised.value, home)
        assert word in said
        assert "not foreseen" not in said


def test_a_workspace_on_a_read_only_file_system(tmp_path: Path) -> None:
    import subprocess

    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(OSError, match="Read-only") as raised:
            Workspace(tmp_path).check()
        assert "read-only" in reason(raised.value, tmp_path)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_dataset_has_a_name_that_files_can_have(tmp_path: Path) -> None:
    longest = "n" * LONGEST_DATASET_NAME
    paths = Workspace(tmp_path).dataset(longest)
    paths.register(None)
    places_of_it = (paths.registration, paths.fingerprints, paths.lock, paths.warehouse, paths.spill, paths.lake)
    assert max(len(path.name) + len(".wal") for path in places_of_it) <= 255
    with pytest.raises(ValueError, match=r"has 201 letters, and 200 are the most"):
        check_dataset_name(longest + "n")
    with pytest.raises(ValueError, match="300 letters"):
        check_dataset_name("n" * 300)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'"/dumps"',
        b'{"dumps": 1}',
        b'{"dumps": ""}',
        b'{"dumps": "/x", "layout": ["a"]}',
        b'{"dumps": "/x", "source": 3}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_registration_of_an_earlier_version_names_itself_and_the_remedy(text: bytes, tmp_path: Path) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    paths.registration.parent.mkdir(parents=True)
    old = paths.registration.with_suffix(".json")
    old.write_bytes(text)
    for read in (lambda: paths.dumps, lambda: paths.source_description):
        with pytest.raises(LandingError) as raised:
            read()
        said = reason(raised.value, tmp_path)
        assert str(old) in said
        assert "DUMPS=<folder>" in said
        assert "\n" not in said
    # which is what the remedy does
    paths.register(tmp_path / "dumps")
    assert paths.dumps == tmp_path / "dumps"
    assert not old.exists()


def test_an_asset_whose_files_were_removed_is_missed(tmp_path: Path) -> None:
    paths = DatasetPaths(tmp_path, "Small")
    keys = [
        dg.AssetKey(key) for key in (["marts", "items"], ["models", "x"], ["audits", "ties"], ["intermediate", "y"])
    ]
    assert missing(paths, keys) == set(keys[:3])
    for path in (
        paths.table("marts", "items"),
        paths.asset("models", "x", "config.json"),
        paths.asset("audits", "ties.json"),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({}))
    assert missing(paths, keys) == set()
    # the link to a version, or the version that it leads to
    with versioned_folder(paths.asset("models", "y")) as folder:
        (folder / "config.json").write_text("{}")
    written = [dg.AssetKey(["models", "y"])]
    assert missing(paths, written) == set()
    shutil.rmtree(current_version(paths.asset("models", "y")))
    assert missing(paths, written) == set(written)
    with versioned_folder(paths.asset("models", "y")) as folder:
        (folder / "config.json").write_text("{}")
    paths.asset("models", "y").unlink()
    assert missing(paths, written) == set(written)


def test_a_folder_that_was_away_for_a_moment_is_back_before_anything_is_missed(tmp_path: Path) -> None:
    """A folder of an earlier release is exchanged for a link in two steps; a process may be killed between them."""
    paths = DatasetPaths(tmp_path, "Small")
    place = paths.asset("models", "x")
    with versioned_folder(place) as folder:
        (folder / "config.json").write_text("{}")
    ready = place.parent / ".writing-0123456789abcdef" / "taken_over" / "x"
    ready.parent.mkdir(parents=True)
    place.rename(ready)
    assert missing(paths, [dg.AssetKey(["models", "x"])])
    clean_tree(paths.lake)
    assert not missing(paths, [dg.AssetKey(["models", "x"])])
    assert (place / "config.json").read_text() == "{}"
    assert sorted(os.listdir(place.parent)) == [VERSIONS, "x"]
