"""Dumps in a bucket of S3: they land as from a folder, a listing tells what changed, and errors say what to do."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from object_storage import BUCKET, put, s3_server

from ml.data.landing.land import INTERACTIONS_SCHEMA, METADATA_SCHEMA, Landed, LandingError, content_digest, land
from ml.data.object_storage.dumps import fetch, objects_below, outlined
from ml.data.object_storage.location import Location, StorageError, masked, told
from ml.extras import MissingExtra
from orchestration.assets.raw import ABSENT, find_units, named_as_given, raw_version
from orchestration.automation.run_requests import run_requests
from orchestration.commands.nothing_new import dumps_of
from orchestration.commands.run import NoSuchDataset, parse, register
from orchestration.paths import DatasetPaths, RegistrationError, Workspace

NAME = "Small"
KINDS = {"reviews": INTERACTIONS_SCHEMA, "metadata": METADATA_SCHEMA}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    with s3_server() as system:
        yield system


@pytest.fixture
def paths(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A dataset whose dumps lie below a prefix that has its name."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path / "workspace"))
    paths = Workspace.current().dataset(NAME)
    paths.register(Location.of(f"s3://{BUCKET}/{tmp_path.name}/dumps/"))
    return paths


def put_dump(bucket: Any, paths: DatasetPaths, folder: Path) -> None:
    put(bucket, folder, paths.dumps_url.path.partition("/")[2])


def review(user: int, item: int, day: int) -> bytes:
    row = {"overall": 4.0, "reviewerID": f"A{user}", "asin": f"B{item}", "unixReviewTime": 1393372800 + 86400 * day}
    return json.dumps(row).encode()


def write_dump(folder: Path, lines: list[bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.json.gz").write_bytes(gzip.compress(b"\n".join(lines), mtime=0))
    (folder / f"meta_{NAME}.json").write_bytes(b'{"asin": "B1", "title": "A pen", "brand": "b", "price": "$1"}\n')
    return folder


def landed(paths: DatasetPaths, kind: str) -> Landed:
    with named_as_given(paths):
        units, _, _ = find_units(paths, kind)
        return land(units, paths.asset("landing", kind), KINDS[kind], 1, fingerprints=paths.fingerprints)


@contextmanager
def when_read(paths: DatasetPaths, act: Callable[[str], None]) -> Iterator[None]:
    """Do something, by its name, when an object has been read to its end."""
    # fsspec gives the same system wherever it is asked for
    system = paths.dumps_url.file_system()
    get_file = system.get_file

    def read(source: str, target: str, **options: Any) -> None:
        get_file(source, target, **options)
        act(source.rsplit("/", 1)[-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system, "get_file", read)
        yield


@pytest.fixture
def fetched(paths: DatasetPaths) -> Iterator[list[str]]:
    """The names of the objects that are read."""
    names: list[str] = []
    with when_read(paths, names.append):
        yield names


def content(paths: DatasetPaths) -> dict[str, bytes]:
    """The tables that landed, by name."""
    return {
        f"{kind} {path.relative_to(paths.asset('landing', kind))}": path.read_bytes()
        for kind in KINDS
        for path in paths.asset("landing", kind).rglob("*.parquet")
    }


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=20),
    dirt=st.lists(st.sampled_from([b"", b"{", b"no json", b'{"asin": 3}']), max_size=3),
    cut=st.booleans(),
)
def test_what_lands_from_a_bucket_is_what_lands_from_a_folder(
    bucket: Any, paths: DatasetPaths, tmp_path: Path, rows: list[tuple[int, int, int]], dirt: list[bytes], cut: bool
) -> None:
    folder = write_dump(tmp_path / "dumps", [*(review(*row) for row in rows), *dirt])
    reviews = folder / f"{NAME}.json.gz"
    if cut and len(rows) > 5:
        # a half-written file
        reviews.write_bytes(reviews.read_bytes()[:-12])
    put_dump(bucket, paths, folder)
    locally = dataclasses.replace(paths, home=tmp_path / "local")
    locally.register(folder)
    for kind in KINDS:
        assert landed(paths, kind).files == landed(locally, kind).files
        digests = [content_digest(each.asset("landing", kind)) for each in (paths, locally)]
        assert digests[0] == digests[1]
    assert content(paths) == content(locally)


def test_a_listing_tells_what_changed_and_only_that_is_fetched_and_read(
    bucket: Any, paths: DatasetPaths, tmp_path: Path, fetched: list[str]
) -> None:
    folder = write_dump(tmp_path / "dumps", [review(1, 1, 1)])
    (folder / "part-1.csv").write_text("user,item,timestamp\na,x,1393372800\n")
    (folder / "part-2.csv").write_text("user,item,timestamp\nb,y,1393372801\n")
    (folder / "source.toml").write_text('layout = "table"\ninteractions = ["part-*.csv"]\n')
    put_dump(bucket, paths, folder)
    before, stamp = {kind: raw_version(paths, kind) for kind in KINDS}, dumps_of(paths)
    assert (fetched, before["reviews"][1]["files"], before["reviews"][1]["layout"]) == ([], 2, "table")
    assert landed(paths, "reviews").files_read == 2
    assert landed(paths, "metadata").files_read == 1
    assert sorted(fetched) == ["meta_Small.json", "part-1.csv", "part-2.csv"], "each once, and no other"
    digest = content_digest(paths.asset("landing", "reviews"))

    # the same bytes, written again, are no other data; nor is it anything if a neighbour comes that is not read
    put_dump(bucket, paths, folder)
    bucket.pipe_file(f"{paths.dumps_url.path}/notes.md", b"hello")
    assert {kind: raw_version(paths, kind)[0] for kind in KINDS} == {kind: one for kind, (one, _) in before.items()}
    assert dumps_of(paths) != stamp, "the stamp is coarser than the plan"
    assert landed(paths, "reviews").files_read == 0

    bucket.pipe_file(f"{paths.dumps_url.path}/part-2.csv", b"user,item,timestamp\nc,z,1393372802\n")
    fetched.clear()
    after = {kind: raw_version(paths, kind)[0] for kind in KINDS}
    assert after["reviews"] != before["reviews"][0]
    assert after["metadata"] == before["metadata"][0]
    assert landed(paths, "reviews").files_read == 1
    assert fetched == ["part-2.csv"]
    assert content_digest(paths.asset("landing", "reviews")) != digest
    # what somebody changes in the folder of fetched files is not taken for the object
    (paths.dumps / "part-1.csv").write_text("user,item,timestamp\n!,!,1393372803\n")
    assert landed(paths, "reviews").files_read == 0
    assert fetched == ["part-2.csv", "part-1.csv"]

    bucket.rm(f"{paths.dumps_url.path}/part-1.csv")
    bucket.rm(f"{paths.dumps_url.path}/part-2.csv")
    version, said = raw_version(paths, "reviews")
    assert version == ABSENT
    assert f"matches no file in {paths.dumps_url}" in said["note"]


def test_an_object_that_changes_or_goes_while_it_is_read_is_named_and_nothing_of_it_is_kept(
    bucket: Any, paths: DatasetPaths, tmp_path: Path
) -> None:
    put_dump(bucket, paths, write_dump(tmp_path / "dumps", [review(1, 1, 1)]))
    place = paths.dumps_url
    objects = objects_below(place)
    reviews = f"{place.path}/{NAME}.json.gz"

    def change(name: str) -> None:
        if name == f"{NAME}.json.gz":
            bucket.pipe_file(reviews, gzip.compress(review(1, 1, 2), mtime=0))

    def remove(name: str) -> None:
        bucket.rm(reviews)

    changed = rf"^{place}/{NAME}\.json\.gz changed while it was read; run the command again when nothing writes to it$"
    gone = rf"^{place}/{NAME}\.json\.gz is gone: .*; run the command again$"
    with when_read(paths, change), pytest.raises(StorageError, match=changed):
        fetch(place, objects.values(), paths.dumps)
    assert [path.name for path in paths.dumps.iterdir()] == [f"meta_{NAME}.json"], "what came whole is kept"
    # between the listing and the reading
    with pytest.raises(StorageError, match=changed):
        fetch(place, objects.values(), paths.dumps)
    with when_read(paths, remove), pytest.raises(StorageError, match=gone):
        fetch(place, objects_below(place).values(), paths.dumps)
    with pytest.raises(StorageError, match=gone):
        fetch(place, objects.values(), paths.dumps)
    assert not (paths.dumps / f"{NAME}.json.gz").exists()
    with pytest.raises(LandingError, match=rf"^{place} holds nothing that is recognised as {NAME}: "):
        find_units(paths, "reviews")


def test_names_of_objects_lead_nowhere_else(bucket: Any, paths: DatasetPaths) -> None:
    place = paths.dumps_url
    for name in ("a.csv", "a/b.csv", "../out.csv", "c//d.csv", "marker/", "b", "b/c.csv"):
        bucket.pipe_file(f"{place.path}/{name}", b"" if name in ("marker/", "b") else b"x")
    objects = objects_below(place)
    assert sorted(objects) == ["a.csv", "a/b.csv", "b/c.csv"]
    with outlined(place, objects) as folder:
        assert folder.name == "dumps"
        assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.csv")) == sorted(objects)
    assert not folder.exists()
    bucket.pipe_file(f"{place.path}/a.csv/b.csv", b"x")
    with pytest.raises(StorageError, match=r"a\.csv is an object and the folder of others: rename one of them$"):
        objects_below(place)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("forbidden", "{url} may not be used with the present credentials: give others by AWS_ACCESS_KEY_ID and "),
        ("no bucket", "s3://no-such-bucket/dumps: there is no bucket no-such-bucket: correct the name, or make it"),
        ("refused", "the server of {url} cannot be reached: check the network, and the address where one is set "),
        ("no credentials", "{url} cannot be read without credentials: give them by AWS_ACCESS_KEY_ID and "),
    ],
)
def test_a_storage_that_cannot_be_read_is_no_empty_one(
    paths: DatasetPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, said: str
) -> None:
    import s3fs.core

    # credentials, address and what was listed are those of the instances
    s3fs.core.S3FileSystem.clear_instance_cache()
    if what == "no bucket":
        paths.register(Location.of("s3://no-such-bucket/dumps"))
    elif what == "refused":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    elif what == "no credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    else:
        # from now on it asks for credentials that it knows
        monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
    try:
        for ask in (lambda: raw_version(paths, "reviews"), lambda: find_units(paths, "reviews")):
            with pytest.raises(StorageError) as raised:
                ask()
            message = str(raised.value)
            assert message.startswith(said.format(url=paths.dumps_url))
            assert not {"not-to-be-shown", "AKIATESTS"} & set(message.split())
        # the schedule names the dataset, and asks for no run of it
        with dg.DagsterInstance.ephemeral() as instance:
            instance.add_dynamic_partitions("dataset", [NAME])
            requests, problems = run_requests(instance, None)
        assert (requests, problems) == ([], [f"{NAME}: {message}"])
    finally:
        s3fs.core.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("name", ["part-401.csv", "year=2024/403/part.csv", "forbidden_words.csv"])
def test_the_name_of_an_object_says_nothing_of_what_is_wrong_with_it(name: str) -> None:
    place = Location("s3", f"{BUCKET}/{name}")
    for missing in (place.path, name):
        with pytest.raises(StorageError, match="is gone: it was there when its folder was listed"), told(place):
            raise FileNotFoundError(missing)
    with pytest.raises(StorageError, match="may not be used with the present credentials"), told(place):
        raise OSError(f"An error occurred (403) when calling HeadObject of {place.path}")


def test_a_command_registers_a_url_where_something_lies(bucket: Any, paths: DatasetPaths, tmp_path: Path) -> None:
    given_to = parse([f"--dataset={NAME}", f"--dumps=s3://{BUCKET}/{tmp_path.name}/new"], "make run")
    paths.registration.unlink()
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(NoSuchDataset, match=rf"there is no object below s3://{BUCKET}/{tmp_path.name}/new/; put "):
            register(instance, paths, given_to)
        assert not paths.registration.exists()
        put(bucket, write_dump(tmp_path / "new", [review(1, 1, 1)]), f"{tmp_path.name}/new")
        register(instance, paths, given_to)
    assert f'dumps = "s3://{BUCKET}/{tmp_path.name}/new"' in paths.registration.read_text()
    assert (str(paths.dumps_url), paths.dumps.name) == (f"s3://{BUCKET}/{tmp_path.name}/new", "new")
    paths.register_as_before()
    assert str(paths.dumps_url) == paths.dumps_shown == f"s3://{BUCKET}/{tmp_path.name}/new"


def test_without_the_extra_a_url_is_refused_with_the_remedy(
    paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs s3fs, which is not installed: pip install 'raw2rank\[s3\]'$"):
        raw_version(paths, "reviews")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://KEY:hunter2@shop/dumps", "s3://***@shop/dumps holds credentials"),
        ("az://c/d?sv=1&sig=hunter2", "az://c/d?*** holds credentials"),
        ("https://me:hunter2@host/x?token=hunter2", "https://***@host/x?*** is not read: give the path of a folder"),
        ("s3://", "s3:// names no place"),
        ("gs://shop//x", "gs://shop//x names no place"),
        ("gs://shop/../x", "gs://shop/../x names no place"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, said: str
) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        Location.of(url)
    assert str(raised.value).startswith(said)
    with pytest.raises(SystemExit):
        parse([f"--dumps={url}"])
    error = capsys.readouterr().err
    assert error.startswith(f"error: DUMPS={masked(url)} is not possible: {said}")
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    paths = Workspace.current().dataset(NAME)
    paths.registration.parent.mkdir()
    paths.registration.write_text(f'dumps = "{url}"\n')
    with pytest.raises(RegistrationError) as registered:
        paths.dumps  # noqa: B018
    assert f"line 1: {said}" in str(registered.value)
    assert "hunter2" not in str(raised.value) + error + str(registered.value)
