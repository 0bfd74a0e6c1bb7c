"""Atomic writes and fingerprints."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ml.data import files
from ml.data.files import atomic_file, atomic_folder, clean_leftovers, fingerprint, sha256_of_file


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too."""
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def write_half(target: Path, error: BaseException) -> None:
    """Begin a folder, or a file where the name has an ending, and fail."""
    with (atomic_file if target.suffix else atomic_folder)(target) as new:
        (new if target.suffix else new / "file.txt").write_text("half")
        raise error


@pytest.fixture(params=["one system call", "two renames"])
def exchange(request, monkeypatch):
    """Both ways in which a folder is put in place."""
    if request.param == "two renames":
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)


def test_a_folder_is_replaced_as_a_whole(tmp_path, exchange):
    target = tmp_path / "deep" / "target"
    with atomic_folder(target) as folder:
        (folder / "old.txt").write_text("old")
        (folder / "both.txt").write_text("old")
    with atomic_folder(target) as folder:
        assert content(folder) == {}
        (folder / "both.txt").write_text("new")
        assert content(target) == {"old.txt": "old", "both.txt": "old"}
    assert content(tmp_path) == {"deep/target/both.txt": "new"}
    assert os.listdir(tmp_path / "deep") == ["target"]


def test_an_error_leaves_the_folder_as_it_was(tmp_path, exchange):
    target = tmp_path / "target"
    with atomic_folder(target) as folder:
        (folder / "file.txt").write_text("old")
    with pytest.raises(RuntimeError, match="no luck"):
        write_half(target, RuntimeError("no luck"))
    assert content(tmp_path) == {"target/file.txt": "old"}
    assert os.listdir(tmp_path) == ["target"]


def test_an_error_leaves_no_folder_where_there_was_none(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "target", KeyboardInterrupt())
    assert os.listdir(tmp_path) == []


def test_old_content_comes_back_when_the_last_rename_fails(tmp_path, monkeypatch):
    target = tmp_path / "target"
    with atomic_folder(target) as folder:
        (folder / "file.txt").write_text("old")
    rename = os.rename

    def fails_once_aside(source, destination):
        if Path(destination) == target and not target.exists() and Path(source).parent.name == "new":
            raise OSError(5, "input/output error")
        rename(source, destination)

    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "rename", fails_once_aside)
    with pytest.raises(OSError, match="input/output"), atomic_folder(target) as folder:
        (folder / "file.txt").write_text("new")
    assert content(tmp_path) == {"target/file.txt": "old"}


def test_a_folder_behind_a_symbolic_link_is_replaced_where_it_is(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_folder(tmp_path / "link") as folder:
        (folder / "file.txt").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == {"file.txt": "new"}


def test_a_file_is_not_replaced_by_a_folder_nor_a_folder_by_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotADirectoryError, match="move it away"), atomic_folder(tmp_path / "file"):
        pass
    with pytest.raises(IsADirectoryError, match="move it away"), atomic_file(tmp_path / "folder"):
        pass
    assert content(tmp_path) == {"file": "x"}


CRASH = """
import os, signal, sys
from pathlib import Path
from ml.data import files
target, moment = Path(sys.argv[1]), sys.argv[2]
if moment == "between the renames":
    files._exchange = lambda one, other: False
    rename = os.rename
    def rename_and_die(source, destination):
        rename(source, destination)
        if Path(source) == target:
            os.kill(os.getpid(), signal.SIGKILL)
    os.rename = rename_and_die
with files.atomic_folder(target) as folder:
    (folder / "file.txt").write_text("new")
    if moment == "while writing":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["while writing", "between the renames"])
def test_a_killed_process_leaves_the_old_folder_and_its_leftovers_are_cleared(tmp_path, moment):
    target = tmp_path / "target"
    with atomic_folder(target) as folder:
        (folder / "file.txt").write_text("old")
    killed = subprocess.run([sys.executable, "-c", CRASH, str(target), moment], check=False)
    assert killed.returncode == -9
    assert len(list(tmp_path.glob(".writing-*"))) == 1
    clean_leftovers(tmp_path)
    assert content(tmp_path) == {"target/file.txt": "old"}
    assert os.listdir(tmp_path) == ["target"]


def test_the_next_write_clears_leftovers_but_not_what_is_being_written(tmp_path):
    (tmp_path / ".writing-0123456789abcdef" / "new" / "lost").mkdir(parents=True)
    with atomic_folder(tmp_path / "one") as one, atomic_file(tmp_path / "two.txt") as two:
        (one / "file.txt").write_text("one")
        two.write_text("two")
        assert not (tmp_path / ".writing-0123456789abcdef").exists()
        clean_leftovers(tmp_path)
    assert content(tmp_path) == {"one/file.txt": "one", "two.txt": "two"}


def test_writers_at_the_same_time_leave_one_whole_folder(tmp_path, exchange):
    target = tmp_path / "target"
    failures = []

    def write(name: str) -> None:
        try:
            for _ in range(60):
                with atomic_folder(target) as folder:
                    (folder / "one.txt").write_text(name)
                    (folder / "two.txt").write_text(name)
                with atomic_file(tmp_path / "file.txt") as file:
                    file.write_text(name)
        except OSError as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    left = content(tmp_path)
    assert set(left) == {"target/one.txt", "target/two.txt", "file.txt"}
    assert left["target/one.txt"] == left["target/two.txt"]
    assert sorted(os.listdir(tmp_path)) == ["file.txt", "target"]


def test_a_fresh_working_folder_that_another_process_takes_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    open_folder, taken = os.open, []

    def take_it_first(path, flags, *more, **named):
        if Path(path).name.startswith(".writing-") and not taken:
            taken.append(path)
            cleaner = open_folder(path, flags)
            fcntl.flock(cleaner, fcntl.LOCK_EX)

            def clear_and_let_go():
                shutil.rmtree(path)
                os.close(cleaner)

            threading.Timer(0.1, clear_and_let_go).start()
        return open_folder(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", take_it_first)
    with atomic_file(tmp_path / "file.txt") as file:
        time.sleep(0.2)
        file.write_text("new")
    assert len(taken) == 1
    assert content(tmp_path) == {"file.txt": "new"}


def test_a_file_is_replaced_in_one_step(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    target.parent.mkdir()
    target.write_text("old")
    with atomic_file(target) as new:
        assert new.name == "file.txt"
        assert not new.exists()
        new.write_text("new")
        assert target.read_text() == "old"
    assert content(tmp_path) == {"deep/file.txt": "new"}
    with pytest.raises(RuntimeError, match="no luck"):
        write_half(target, RuntimeError("no luck"))
    with pytest.raises(FileNotFoundError, match="nothing was written"), atomic_file(target):
        pass
    assert content(tmp_path) == {"deep/file.txt": "new"}
    assert os.listdir(tmp_path / "deep") == ["file.txt"]


def test_sha256_is_of_the_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_an_unchanged_file_is_hashed_once(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SETTLED_AFTER_NS", -1)
    file, cache = tmp_path / "file", tmp_path / "state" / "cache.json"
    file.write_bytes(b"one")
    hashed = []
    monkeypatch.setattr(files, "sha256_of_file", lambda path: hashed.append(path) or sha256_of_file(path))
    first = fingerprint(file, cache)
    assert fingerprint(file, cache) == first == hashlib.sha256(b"one").hexdigest()
    assert len(hashed) == 1
    assert fingerprint(file) == first
    assert len(hashed) == 2

    # same size, same time of modification: the change of the inode or of its state gives it away
    times = os.stat(file).st_atime_ns, os.stat(file).st_mtime_ns
    file.write_bytes(b"two")
    os.utime(file, ns=times)
    assert fingerprint(file, cache) == hashlib.sha256(b"two").hexdigest()

    cache.write_text("{ not json")
    assert fingerprint(file, cache) == hashlib.sha256(b"two").hexdigest()
    assert fingerprint(file, cache) == hashlib.sha256(b"two").hexdigest()
    assert len(hashed) == 4


def test_a_file_changed_a_moment_ago_is_not_trusted_to_stay(tmp_path):
    file, cache = tmp_path / "file", tmp_path / "cache.json"
    file.write_bytes(b"one")
    assert fingerprint(file, cache) == hashlib.sha256(b"one").hexdigest()
    assert not cache.exists()
