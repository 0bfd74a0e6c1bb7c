"""Atomic writes and fingerprints."""

import fcntl
import hashlib
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from ml.data import files
from ml.data.files import atomic_file, clean_leftovers, fingerprint, sha256_of_file


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too."""
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def write_half(target: Path, error: BaseException) -> None:
    """Begin a file, and fail."""
    with atomic_file(target) as new:
        new.write_text("half")
        raise error


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="move it away"), atomic_file(tmp_path / "folder"):
        pass
    assert os.listdir(tmp_path) == ["folder"]


def test_the_next_write_clears_leftovers_but_not_what_is_being_written(tmp_path):
    (tmp_path / ".writing-0123456789abcdef" / "new" / "lost").mkdir(parents=True)
    with atomic_file(tmp_path / "one.txt") as one, atomic_file(tmp_path / "two.txt") as two:
        one.write_text("one")
        two.write_text("two")
        assert not (tmp_path / ".writing-0123456789abcdef").exists()
        clean_leftovers(tmp_path)
    assert content(tmp_path) == {"one.txt": "one", "two.txt": "two"}


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
