"""Whatever goes wrong ends as one sentence with the place and the remedy, and with an exit code."""

from __future__ import annotations

import errno
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
import sqlalchemy
from dagster._utils.error import serializable_error_info_from_exc_info
from duckdb import OutOfMemoryException
from training_toys import fitted, ring_training_set, toy_recipe

from ml.baselines.save_load import load_state, save_state
from ml.codes.codes import Codes
from ml.data.files import DamagedFile, whole
from ml.data.landing.file_lines import LandingError
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.release.gate.history import HistoryError
from ml.training.sequential_recommender import SequentialRecommender
from orchestration.commands import compare, download, reproduce, run, search
from orchestration.exits import Stopped, ends_plainly
from orchestration.faults import (
    interrupted,
    links_of,
    links_of_step,
    reason,
    reason_of_step,
    sentence,
)

NOTHING_FORESEEN = "unexpected error"


def wrapped(error: BaseException) -> BaseException:
    """An error as the cause of another, as a library hands it on."""
    try:
        raise RuntimeError("a step has failed") from error
    except RuntimeError as outer:
        return outer


def of_a_step(error: BaseException):
    """What Dagster keeps of it."""
    try:
        raise error
    except BaseException:  # noqa: BLE001 - any error is kept
        return serializable_error_info_from_exc_info(sys.exc_info())


def sqlite(text: str) -> sqlalchemy.exc.OperationalError:
    return sqlalchemy.exc.OperationalError("insert into runs", {}, sqlite3.OperationalError(text))


SYSTEM = [
    (
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/lake/x.parquet"),
        ["/data/lake/x.parquet", "full", "free"],
    ),
    (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/data/x"), ["/data/x", "full"]),
    (OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"), ["full"]),
    (sqlite("database or disk is full"), ["full", "RAW2RANK_HOME"]),
    (
        duckdb.IOException('IO Error: Could not write file "/w/a.duckdb": No space left on device'),
        ["/w/a.duckdb", "full"],
    ),
    (OutOfMemoryException("Out of Memory Error: failed to allocate 8 MiB"), ["RAW2RANK_DUCKDB_MEMORY", "THREADS"]),
    (OutOfMemoryException("failed to offload data block (max_temp_directory_size 1 GiB)"), ["full"]),
    (MemoryError(), ["memory", "K_CORE"]),
    (np._core._exceptions._ArrayMemoryError((10**12,), np.dtype("f8")), ["memory"]),
    (OSError(errno.EROFS, os.strerror(errno.EROFS), "/w/x"), ["/w/x", "read-only"]),
    (sqlite("attempt to write a readonly database"), ["read-only"]),
    (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/w/x"), ["/w/x", "permissions"]),
    (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "/w/" + "n" * 300), ["nnn...", "shorter"]),
    (NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "/w/file/x"), ["/w/file/x", "move the file away"]),
    (FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), "/w/file"), ["/w/file", "move the file away"]),
    (IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "/w/dir"), ["/w/dir", "move the folder away"]),
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/w/x"), ["ulimit"]),
    (OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)), ["locks", "local disk"]),
    (OSError(errno.EIO, os.strerror(errno.EIO), "/w/x"), ["/w/x", "check the disk"]),
    (sqlite("database is locked"), ["locked", "wait"]),
    (sqlite("database disk image is malformed"), ["damaged", "move that folder away"]),
    (sqlite("unable to open database file"), ["cannot be opened"]),
    (RuntimeError("External execution process failed with code -9"), ["SIGKILL", "memory", "checkpoint"]),
    (RuntimeError("External execution process failed with code 3"), ["exit code 3"]),
    (LandingError("/d/x.gz is empty; download it again"), ["/d/x.gz is empty; download it again"]),
    (HistoryError("history.jsonl, line 2: mend or delete this line"), ["line 2: mend or delete this line"]),
]


@pytest.mark.parametrize(("error", "words"), SYSTEM, ids=lambda value: str(value)[:40] if value else "")
def test_a_known_error_is_one_sentence_with_the_place_and_the_remedy(
    error: BaseException, words: list[str], tmp_path: Path
) -> None:
    told = [
        reason(error, tmp_path),
        reason(wrapped(error), tmp_path),
        reason_of_step("models__x", of_a_step(error), tmp_path),
        reason_of_step("models__x", of_a_step(wrapped(error)), tmp_path),
    ]
    # others write to the disk meanwhile
    assert len({re.sub(r"\([\d,]+ MiB are free\)", "", text) for text in told}) == 1
    assert "\n" not in told[0]
    assert NOTHING_FORESEEN not in told[0]
    for word in words:
        assert word in told[0]
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the flag is a readonly database of permission denied"),
        KeyError("is a directory"),
        FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/w/x"),
        AssertionError(),
        RuntimeError("several\nlines"),
    ],
)
def test_any_other_error_is_one_sentence_that_names_the_file_with_its_stack_trace(
    error: BaseException, tmp_path: Path
) -> None:
    for told in (reason(error, tmp_path), reason_of_step("models__x", of_a_step(wrapped(error)), tmp_path)):
        assert "\n" not in told
        assert type(error).__name__ in told
        kept = Path(re.search(r"the stack trace is in (.*)\)$", told)[1])
        assert kept.parent == tmp_path / "logs"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert type(error).__name__ in kept.read_text()
    assert told.startswith("models__x: ")


def test_where_the_workspace_cannot_be_written_the_stack_trace_is_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = reason(ValueError("x"), tmp_path / "file")
    kept = Path(re.search(r"the stack trace is in (.*)\)$", told)[1])
    assert kept.parent == Path(tempfile.gettempdir())
    kept.unlink()


def test_an_error_that_leads_back_to_itself_has_an_end(tmp_path: Path) -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert [link.text for link in links_of(one)] == ["one", "other"]


def test_a_stop_is_seen_in_what_dagster_keeps_of_it() -> None:
    from dagster._core.errors import DagsterExecutionInterruptedError

    assert interrupted(links_of_step(of_a_step(DagsterExecutionInterruptedError())))
    assert interrupted(links_of_step(of_a_step(Stopped(signal.SIGTERM))))
    assert not interrupted(links_of_step(of_a_step(ValueError("KeyboardInterrupt"))))


@pytest.fixture
def ended(tmp_path: Path, monkeypatch, capfd) -> Iterator[Callable[[Callable[[], object]], tuple[int, str]]]:
    """Calls a function as a command; its exit code and what it printed as errors."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))

    def call(body: Callable[[], object]) -> tuple[int, str]:
        code = ends_plainly(body)()
        return code, capfd.readouterr().err

    return call


def _raise(error: BaseException) -> None:
    raise error


def test_a_command_ends_with_its_own_exit_code(ended) -> None:
    assert ended(lambda: 2) == (2, "")
    assert ended(lambda: None) == (0, "")
    with pytest.raises(SystemExit):
        ended(lambda: _raise(SystemExit(2)))


def test_an_error_ends_a_command_with_1_and_one_line(ended, tmp_path: Path) -> None:
    code, said = ended(lambda: _raise(LandingError("x.gz is empty; download it again")))
    assert (code, said) == (1, "error: x.gz is empty; download it again\n")
    code, said = ended(lambda: _raise(KeyError("x")))
    assert code == 1
    assert said.count("\n") == 1
    assert str(tmp_path / "logs") in said


def test_the_stack_trace_is_shown_where_it_is_asked_for(ended, monkeypatch) -> None:
    monkeypatch.setenv("RAW2RANK_TRACEBACK", "1")
    assert "Traceback" in ended(lambda: _raise(LandingError("x")))[1]
    monkeypatch.setenv("RAW2RANK_TRACEBACK", "0")
    assert "Traceback" not in ended(lambda: _raise(LandingError("x")))[1]


@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")])
def test_a_signal_ends_a_command_with_its_number(ended, number: int, code: int, name: str) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    found, said = ended(lambda: os.kill(os.getpid(), number))
    assert found == code
    assert said.startswith(f"stopped by {name}")
    assert said.count("\n") == 1
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before


def test_the_number_is_known_where_dagster_has_handlers_of_its_own(ended) -> None:
    from dagster._utils.interrupts import capture_interrupts

    def work() -> None:
        with capture_interrupts():
            os.kill(os.getpid(), signal.SIGTERM)
        raise Stopped

    assert ended(work)[0] == 143

    def after() -> None:
        with capture_interrupts():
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    assert ended(after)[0] == 143


def test_output_that_nobody_reads_any_more_ends_a_command_without_a_word() -> None:
    script = (
        "import sys\nfrom orchestration.exits import ends_plainly\n"
        "sys.exit(ends_plainly(lambda: [print('x' * 9000) for _ in range(99)])())"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


COMMANDS = {
    "run": (run, ["--dataset", "Small"]),
    "search": (search, ["--dataset", "Small", "--recipe", "tiny_softmax"]),
    "download": (download, ["--dataset", "Software"]),
    "compare": (compare, ["a", "b"]),
    "reproduce": (reproduce, ["--data", "a"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_plainly(name: str, tmp_path: Path, monkeypatch, capfd) -> None:
    from orchestration.paths import Workspace

    module, arguments = COMMANDS[name]
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path / "home"))

    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/w/x")

    monkeypatch.setattr(Workspace, "dataset", broken)
    monkeypatch.setattr("ml.reports.compare.written_report.read_report", broken)
    monkeypatch.setattr("ml.reproduction.claims.load_claims", broken)
    assert module.main(arguments) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: the disk that holds /w/x is full")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "gone", "/lake/models/x/model.safetensors"),
        ValueError("Expecting value: line 1"),
        KeyError("format"),
        TypeError("unexpected keyword"),
        EOFError(),
    ],
)
def test_what_cannot_be_read_names_the_folder_and_the_remedy(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(DamagedFile, match=rf"{re.escape(str(tmp_path))} cannot be used .*: remove it"), whole(tmp_path):
        raise error


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no", "/x"), MemoryError(), OSError(errno.EIO, "no")])
def test_what_is_not_the_fault_of_a_file_is_not_put_on_it(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as raised, whole(tmp_path):
        raise error
    assert raised.value is error


def test_a_full_disk(tmp_path: Path) -> None:
    """On a file system that is really full, where one can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        told = []
        writers = {
            "python": lambda: (disk / "x").write_bytes(bytes(1 << 20)),
            "duckdb": lambda: duckdb.sql(f"copy (select random() from range(1000000)) to '{disk}/x.parquet'"),
            "sqlite": lambda: _fill_sqlite(disk / "x.db"),
            "warehouse": lambda: _fill_duckdb(disk / "x.duckdb"),
        }
        for name, write in writers.items():
            with pytest.raises(Exception) as raised:  # noqa: PT011 - each library has an error of its own
                write()
            told.append((name, sentence(links_of(raised.value), disk)))
            for left in disk.iterdir():
                left.unlink()
        assert all(said and "is full" in said and str(disk) in said for _, said in told), told
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _fill_sqlite(path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("create table x as select randomblob(1000000) as y")


def _fill_duckdb(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table x as select random() as y from range(1000000)")
        connection.execute("checkpoint")


def test_a_damaged_table_of_the_lake_names_the_asset_to_remove(tmp_path: Path) -> None:
    rows = tmp_path / "lake" / "Small" / "landing" / "reviews" / "rows" / "x.parquet"
    items = tmp_path / "lake" / "Small" / "marts" / "items.parquet"
    for path, asset in ((rows, rows.parents[1]), (items, items)):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"PAR1 cut short")
        with pytest.raises(duckdb.Error) as raised:
            duckdb.sql(f"from read_parquet('{path}')").fetchall()
        assert sentence(links_of(raised.value), tmp_path) == (
            f"{path} is damaged: remove {asset} and run the command again, which makes it again"
        )


DAMAGES = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "something else": lambda path: path.write_bytes(b"[1, 2, 3]"),
}


def _training_set(folder: Path) -> Callable[[], object]:
    made = TrainingSet(
        dataset="Small",
        item_ids=np.array(["a", "b", "c"], dtype="S1"),
        user_ids=np.array(["u"], dtype="S1"),
        train=Sequences.from_lists([np.array([0, 1])]),
        validation_users=np.zeros(0, np.int32),
        validation_targets=np.zeros(0, np.int32),
        test_users=np.zeros(1, np.int32),
        test_targets=np.array([2], np.int32),
    )
    made.save(folder)
    return lambda: TrainingSet.load(folder).digest()


def _codes(folder: Path) -> Callable[[], object]:
    Codes(np.zeros((3, 2), np.uint8), {"name": "random", "books": 2}, {}).save(folder)
    return lambda: Codes.load(folder)


def _baseline(folder: Path) -> Callable[[], object]:
    save_state(folder, "most_popular", {}, {"counts": np.arange(9)})
    return lambda: load_state(folder, "most_popular")


def _model(folder: Path) -> Callable[[], object]:
    fitted(toy_recipe(training={"max_epochs": 1}), ring_training_set(users=20)).save(folder)
    return lambda: SequentialRecommender.load(folder)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("make", [_training_set, _codes, _baseline, _model])
def test_every_file_of_a_folder_may_be_damaged(
    make: Callable[[Path], Callable[[], object]], damage: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    load = make(folder)
    load()
    files = sorted(path for path in folder.iterdir() if path.is_file())
    assert len(files) > 1
    for path in files:
        whole_file = path.read_bytes()
        DAMAGES[damage](path)
        if path.name.startswith("validation_") and damage == "gone":
            # a model without validation users has none
            path.write_bytes(whole_file)
            continue
        with pytest.raises(DamagedFile) as raised:
            load()
        said = reason(raised.value, tmp_path)
        assert said.startswith(f"{folder} cannot be used (")
        assert "remove it" in said
        assert "\n" not in said
        path.write_bytes(whole_file)
    load()
