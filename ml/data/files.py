"""Writing that is never seen half-done, and digests of files.

Whatever is written is made in a hidden working folder beside its destination, flushed to disk, and put in
place by rename. A working folder is locked while its writer lives, so the next write into the same parent folder
recognises and removes one that a killed process has left. Folders are written by :mod:`ml.data.versions`.

Needs the standard library alone, and a POSIX system for the locks.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_WORKING_PREFIX = ".writing-"
# In a working folder: links ready to take the place of a folder (:func:`ml.data.versions.versioned_folder`).
TAKEN_OVER = "taken_over"
# A file changed again within the clock tick of its last change keeps its time of modification.
_SETTLED_AFTER_NS = 2_000_000_000


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Make a file whole or not at all: ``with atomic_file(path) as file: file.write_bytes(...)``.

    Yields a path of the same name, at which nothing exists yet, in a hidden sibling folder. When the block
    ends the file there replaces ``path`` in one system call; when it raises, ``path`` stays as it was.
    Parent folders are made. A symbolic link is followed.

    Raises:
        FileNotFoundError: the block wrote no file.
        IsADirectoryError: ``path`` is a folder.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"{path} is to be written as a file, but it is a folder; move it away")
    with working_folder(path.parent) as working:
        new = working / path.name
        yield new
        if not new.is_file():
            raise FileNotFoundError(f"nothing was written for {path}")
        flush(new)
        os.replace(new, path)
        flush(path.parent)


class DamagedFile(ValueError):
    """A file that this project wrote is gone or not as it was written; the message names it and the remedy."""


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Read what this project wrote into a folder: whatever goes wrong in the block says that the folder cannot be used.

    Args:
        folder: named in the message, with the file that could not be read where the error names it.

    Raises:
        DamagedFile: a file is missing, cut short, or holds something else.
    """
    try:
        yield
    except (DamagedFile, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            # the disk or the permissions are at fault, not the file
            raise
        raise DamagedFile(
            f"{folder} cannot be used ({_cause(error)}): remove it and make it again, as make run does where it is "
            "missing"
        ) from error


def read_json(folder: Path, name: str = "") -> Any:
    """The value of a JSON file that this project wrote: ``name`` in a folder, or ``folder`` itself.

    Raises:
        DamagedFile: it is missing, or no JSON.
    """
    with whole(folder):
        return json.loads((folder / name).read_text(encoding="utf-8"))


def _cause(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{Path(error.filename).name} is missing"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return " ".join(str(error).split()) or type(error).__name__


def clean_leftovers(parent: Path) -> None:
    """Clear what killed processes left in a folder; what living ones are writing is not touched."""
    for working in leftovers(parent):
        _clear(working)


def leftovers(parent: Path) -> Iterator[Path]:
    """The working folders that killed processes left in a folder, each locked until the next is asked for."""
    for working in sorted(parent.glob(f"{_WORKING_PREFIX}*")):
        try:
            descriptor = os.open(working, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        try:
            if _lock(descriptor):
                yield working
        finally:
            os.close(descriptor)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path, cache: Path | None = None) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, not computed again while the file is unchanged.

    Args:
        path: the file.
        cache: a JSON file of earlier fingerprints, made when absent; ``None`` computes without one. A file
            counts as unchanged while its size, times of change (nanoseconds) and inode are the same. An
            unreadable cache is made anew.
    """
    if cache is None:
        return sha256_of_file(path)
    name = os.path.realpath(path)
    before = _state(path)
    known = _read_cache(cache)
    entry = known.get(name)
    if isinstance(entry, dict) and entry.get("state") == before and isinstance(entry.get("sha256"), str):
        return entry["sha256"]
    digest = sha256_of_file(path)
    # A file still being written, or changed a moment ago, may change again without a trace in its state.
    settled = time.time_ns() - max(before["mtime_ns"], before["ctime_ns"]) > _SETTLED_AFTER_NS
    if settled and _state(path) == before:
        known = _read_cache(cache)
        known[name] = {"state": before, "sha256": digest}
        with atomic_file(cache) as file:
            file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return digest


def _state(path: Path) -> dict[str, int]:
    status = os.stat(path)
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
    }


def _read_cache(cache: Path) -> dict:
    try:
        known = json.loads(cache.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """A fresh private folder in ``parent``, removed at the end with its content.

    It is locked meanwhile, so that one of a killed process can be cleared (:func:`clean_leftovers`).
    """
    parent.mkdir(parents=True, exist_ok=True)
    clean_leftovers(parent)
    while True:
        working = parent / f"{_WORKING_PREFIX}{uuid.uuid4().hex[:16]}"
        working.mkdir(mode=0o700)
        descriptor = None
        # Before the lock is held another process may take the folder for a leftover and clear it: its
        # clearing is waited for, and a new folder made.
        with suppress(FileNotFoundError):
            descriptor = os.open(working, os.O_RDONLY | os.O_DIRECTORY)
            _lock(descriptor, wait=True)
            if os.stat(working).st_ino == os.fstat(descriptor).st_ino:
                break
        if descriptor is not None:
            os.close(descriptor)
    try:
        yield working
    finally:
        _clear(working)
        os.close(descriptor)


def _clear(working: Path) -> None:
    """Remove a working folder; a link whose folder has been moved to its new place is put in place first."""
    for link in working.glob(f"{TAKEN_OVER}/*"):
        place = working.parent / link.name
        if not os.path.lexists(place) and (working.parent / os.readlink(link)).is_dir():
            # fails, as it should, where another writer has put something in place since
            with suppress(FileExistsError):
                os.symlink(os.readlink(link), place)
    shutil.rmtree(working, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, waited for; on a file system without locks there is none."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, wait: bool = False) -> bool:
    """Whether the lock was free, or was waited for, and is now held; ``False`` on a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def flush(path: Path) -> None:
    """Ask that a file, or a folder's list of names, is on disk."""
    if not path.is_symlink():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
