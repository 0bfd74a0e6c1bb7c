"""The data of a dataset in a bucket: a state is whole or not to be seen, and another machine goes on from it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_storage import BUCKET, put, s3_server
from plan_bench import GRAPH, NAME, WANTED, settle, versions

from ml.data.object_storage import lake
from ml.data.object_storage.location import Location, StorageError
from orchestration import shared_lake
from orchestration.assets.raw import observe
from orchestration.cleaning import clean_dataset
from orchestration.commands.run import configure_instance
from orchestration.execution.dagster_sqlite import open_instance
from orchestration.execution.plan import plan
from orchestration.execution.records import Records
from orchestration.paths import Workspace, WorkspaceError


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    with s3_server() as system:
        yield system


@pytest.fixture
def place(bucket: Any, tmp_path: Path) -> Location:
    place = Location.of(f"s3://{BUCKET}/{tmp_path.name}/lake")
    assert place is not None
    return place


def write(root: Path, number: int) -> dict[str, Path]:
    """Assets of the three kinds: a file, a folder, and a folder of others that are links to their versions."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "marts" / ".versions" / "a" / "accepted").mkdir(parents=True)
    pq.write_table(pa.table({"item": [f"B{number}", "B0"]}), root / "marts" / "items.parquet")
    (root / "marts" / ".versions" / "a" / "accepted" / "accepted.json").write_text(f'{{"rows": {number}}}')
    (root / "marts" / "accepted").mkdir()
    (root / "marts" / "accepted" / "reviews").symlink_to("../.versions/a/accepted")
    (root / "landing" / "of" / "rows").mkdir(parents=True)
    (root / "landing" / "of" / "rows" / "x.parquet").write_bytes(b"always the same")
    (root / "landing" / "of" / "units.json").write_text(str(number))
    (root / "landing" / "reviews").symlink_to("of")
    return {
        "marts/items": root / "marts" / "items.parquet",
        "marts/accepted": root / "marts" / "accepted",
        "landing/reviews": root / "landing" / "reviews",
    }


def content(root: Path, assets: dict[str, Path]) -> dict[str, bytes]:
    found = {}
    for path in assets.values():
        for where, names, files in os.walk(path, followlinks=True):
            names[:] = [name for name in names if not name.startswith(".")]
            found |= {str((Path(where) / name).relative_to(root)): (Path(where) / name).read_bytes() for name in files}
        if path.is_file():
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


def brought(place: Location, folder: Path) -> dict[str, bytes]:
    shutil.rmtree(folder, ignore_errors=True)
    state = lake.current(place)
    assert state is not None
    lake.bring(place, state, folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_state_comes_back_as_it_was_and_is_written_once(bucket: Any, place: Location, tmp_path: Path) -> None:
    assert lake.current(place) is None
    assets = write(tmp_path / "one", 1)
    state, written = lake.publish(place, assets, {"training_set": "t1"})
    assert (written, lake.current(place)) == (4, state)
    assert brought(place, tmp_path / "there") == content(tmp_path / "one", assets)
    assert lake.publish(place, assets, {"training_set": "t1"}) == (state, 0)
    second, written = lake.publish(place, write(tmp_path / "one", 2), {})
    assert (written, lake.current(place)) == (4, second), "a version holds all of its files"
    # tables are read where they lie, by the pointer
    version = second.assets["marts/items"]
    with duckdb.connect() as connection:
        connection.register_filesystem(bucket)
        found = connection.execute(
            "select item from read_parquet(?) order by item",
            [f"{place}/marts/items/{version['digest']}/items.parquet"],
        ).fetchall()
    assert found == [("B0",), ("B2",)]
    (key, *_) = second.files()["marts/items.parquet"]
    bucket.pipe_file((place / key).path, b"cut")
    with pytest.raises(StorageError, match=rf"^{place}/{key} is not what was published: publish the dataset again$"):
        brought(place, tmp_path / "there")


def test_a_publication_that_breaks_off_anywhere_is_not_seen_and_is_cleaned_away(
    bucket: Any, place: Location, tmp_path: Path
) -> None:
    assets = write(tmp_path / "one", 0)
    lake.publish(place, assets, {})
    before = content(tmp_path / "one", assets)
    system = place.file_system()
    put_file, pipe_file = system.put_file, system.pipe_file
    # four files, the state and the pointer
    for number in range(1, 7):
        assets = write(tmp_path / "one", number)
        left = [number]

        def count(act: Any, left: list[int] = left) -> Any:
            def counted(*arguments: Any) -> None:
                left[0] -= 1
                if left[0] <= 0:
                    raise OSError("broken off")
                act(*arguments)

            return counted

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(system, "put_file", count(put_file))
            patch.setattr(system, "pipe_file", count(pipe_file))
            with pytest.raises(StorageError, match="broken off"):
                lake.publish(place, assets, {})
        assert brought(place, tmp_path / "there") == before
    assert lake.clean(place, keep=0) == {}, "another machine may be publishing"
    would = lake.clean(place, keep=0, dry_run=True, under_way=0)
    removed = lake.clean(place, keep=0, under_way=0)
    assert removed == would
    assert removed
    assert brought(place, tmp_path / "there") == before
    state = lake.current(place)
    system.invalidate_cache()
    keys = {path.removeprefix(f"{place.path}/") for path in system.find(place.path)}
    assert keys == {lake.POINTER, f"{lake.STATES}/{state.digest}.json", *(key for key, *_ in state.files().values())}


def test_a_state_that_names_a_file_elsewhere_is_refused(place: Location, tmp_path: Path) -> None:
    state, _ = lake.publish(place, write(tmp_path / "one", 1), {})
    versions = {asset: dict(version) for asset, version in state.assets.items()}
    versions["landing/reviews"]["files"] = {
        "../../../stolen": next(iter(versions["landing/reviews"]["files"].values()))
    }
    with pytest.raises(
        StorageError, match=r"names a file outside of a lake, landing/reviews/\.\./\.\./\.\./stolen: publish"
    ):
        lake.bring(place, lake.State.of(versions, {}), tmp_path / "elsewhere" / "lake")
    assert not list(tmp_path.rglob("stolen"))


def test_states_that_releases_were_made_of_and_the_last_ones_stay(place: Location, tmp_path: Path) -> None:
    states = [
        lake.publish(place, write(tmp_path / "one", number), {"training_set": f"t{number}"})[0] for number in range(5)
    ]
    lake.pin(place, ["t1"])
    lake.clean(place, keep=1, under_way=0)
    system = place.file_system()
    stayed = {path.rsplit("/", 1)[-1].removesuffix(".json") for path in system.find(f"{place.path}/{lake.STATES}")}
    # object storage tells times in whole seconds, so that any of the others may be the last before the present one
    assert {states[4].digest, states[1].digest} <= stayed
    assert len(stayed) == 3
    for state in (states[4], states[1]):
        lake.bring(place, state, tmp_path / state.digest)
    lake.publish(place, write(tmp_path / "one", 1), {"training_set": "t1"})
    assert lake.current(place) == states[1]


@pytest.fixture
def published(
    bucket: Any, home: Path, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The URL of a lake in which the data of a workspace is published whose dumps lie in a bucket too."""
    paths = Workspace.current().dataset(NAME)
    put(bucket, paths.dumps, f"{tmp_path.name}/{NAME}")
    paths.register(Location.of(f"s3://{BUCKET}/{tmp_path.name}/{NAME}"))
    observe(instance, NAME)
    settle(instance, GRAPH, WANTED, versions)
    assert plan(instance, GRAPH, NAME) == {}
    url = f"s3://{BUCKET}/{tmp_path.name}/lake"
    monkeypatch.setenv(shared_lake.LAKE_VARIABLE, url)
    assert f" was published in {url}/{NAME} (" in shared_lake.publish(instance, paths)
    return url


def raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def of_data(keys: Any) -> set[str]:
    return {key.to_user_string() for key in keys if key in shared_lake._keys()}


def test_another_machine_goes_on_from_what_was_published(
    published: str, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Workspace.current().dataset(NAME)
    again = shared_lake.publish(instance, first)
    assert again.endswith(f"is published in {published}/{NAME} (0 files written)")
    known = Records(instance, NAME, shared_lake._keys())
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path / "other"))
    other = Workspace.current().dataset(NAME)
    configure_instance(Workspace.current())
    with open_instance(tmp_path / "other" / "dagster") as there:
        assert shared_lake.fetch(there, other).endswith(f"was fetched from {published}/{NAME}")
        assert str(other.dumps_url) == str(first.dumps_url)
        observe(there, NAME)
        assert not of_data(plan(there, GRAPH, NAME)), "nothing of the data is made again, and no dump was read"
        assert not (other.home / "fetched").exists()
        found = Records(there, NAME, shared_lake._keys())
        assert {key: made.version for key, made in found.made.items()} == {
            key: made.version for key, made in known.made.items()
        }
        assert found.evaluations.keys() == known.evaluations.keys()
        # where it is killed before the records are written, nothing of the data counts as made
        with monkeypatch.context() as patch:
            patch.setattr(shared_lake, "_record", raise_interrupt)
            with pytest.raises(KeyboardInterrupt):
                shared_lake.fetch(there, other)
        assert of_data(plan(there, GRAPH, NAME)) == {key.to_user_string() for key in shared_lake._keys()}
        # what is fetched takes the place of what there is
        shared_lake.fetch(there, other)
        assert not of_data(plan(there, GRAPH, NAME))
        # what it publishes is the same, but for the training set, which it does not have
        said = shared_lake.publish(there, other)
        assert "(0 files written)" in said
        settle(there, GRAPH, [dg.AssetKey(["landing", "reviews"])], lambda _: "2")
        assert "staging/stg_reviews" in of_data(plan(there, GRAPH, NAME))
        with pytest.raises(WorkspaceError, match=r"^Small is not published, because .* is out of date: make run "):
            shared_lake.publish(there, other)
    told: list[str] = []
    clean_dataset(other, dry_run=True, say=told.append)
    assert told == [], "what was written a moment ago may belong to a publication under way"


def test_a_lake_that_holds_nothing_and_a_variable_that_names_none(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    paths = Workspace.current().dataset(NAME)
    monkeypatch.delenv(shared_lake.LAKE_VARIABLE, raising=False)
    assert shared_lake.lake_of(NAME) is None
    for url, said in (
        ("", "RAW2RANK_SHARED_LAKE is not set: "),
        ("/data/lake", "RAW2RANK_SHARED_LAKE=/data/lake is no URL"),
        ("s3://me:hunter2@shop", r"RAW2RANK_SHARED_LAKE: s3://\*\*\*@shop holds credentials"),
    ):
        monkeypatch.setenv(shared_lake.LAKE_VARIABLE, url)
        with pytest.raises(WorkspaceError, match=f"^{said}") as raised:
            shared_lake.required_lake_of(NAME)
        assert "hunter2" not in str(raised.value)
    monkeypatch.setenv(shared_lake.LAKE_VARIABLE, f"s3://{BUCKET}/{tmp_path.name}")
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(StorageError, match=r"^nothing of Small is publ"):
        shared_lake.fetch(instance, paths)
    assert not paths.lake.exists()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAW2RANK_HOME", "s3://shop/workspace")
    with pytest.raises(WorkspaceError, match=r"^RAW2RANK_HOME names a folder of this machine, and no URL: name "):
        Workspace.current().check()
    assert list(tmp_path.glob("s3*")) == []
