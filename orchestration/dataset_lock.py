"""One writer a dataset: the lock that everything which writes a dataset holds from its first byte to its last.

An exclusive ``flock`` on ``datasets/<dataset>.lock`` in the workspace. Two things take it, each for a whole run: ``make
run`` (:mod:`orchestration.commands.run`), and the executor of every job (:mod:`orchestration.execution.executor`),
which all runs of the UI, of schedules and of sensors go through. So a run never sees half of another one on the same
dataset; runs on different datasets know nothing of each other. All steps of a run are executed in the process that
holds the lock, so nothing has to be handed from step to step.

The kernel releases the lock when its holder dies, however it dies. What it then leaves is a record in the file (who it
was, and in which Dagster run), by which the next holder knows that there is something to clear up. A holder that ends
in order empties the file. The file itself is never removed: a lock on a removed file keeps nobody out.

A child that writes for the holder shares the lock while it lives (:func:`shared_with_children`): when the holder alone
is killed, the dataset stays locked until the child has ended too.

Runs on several machines keep each other out where the file system of the workspace carries locks between them, as NFS 4
does. Where it does not, each machine finds the lock free; the record names the machine, by which
:func:`orchestration.execution.crash_recovery.clear_up` sees that the run of another one is under way.

Needs the standard library alone, and a file system with locks.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from orchestration.paths import DatasetPaths

# Seconds between two looks at a lock that another process holds.
_PAUSE = 0.2

# Locks that this process holds, by file.
_held: dict[Path, DatasetLock] = {}


@dataclass(frozen=True)
class Holder:
    """The holder of a dataset, alive or killed.

    Attributes:
        pid: its process.
        command: what it is, in words a user knows.
        since: when it took the lock, ISO 8601 with the offset to UTC.
        run_id: the Dagster run it is in; empty between runs.
        host: the name of its machine or pod; empty in records of earlier versions.
    """

    pid: int
    command: str
    since: str
    run_id: str = ""
    host: str = ""

    def is_elsewhere(self) -> bool:
        """Whether it is on another machine, of whose processes nothing is known here."""
        return bool(self.host) and self.host != platform.node()

    def alive(self) -> bool:
        """Whether the process exists on this machine; its number may have been reused since."""
        if self.pid <= 0 or self.is_elsewhere():
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            return True
        return True

    def __str__(self) -> str:
        if self.pid <= 0:
            return self.command
        if self.is_elsewhere():
            return f"{self.command} (process {self.pid} on {self.host}, since {self.since})"
        known = f"{self.command} (process {self.pid}, since {self.since})"
        return known if self.alive() else f"what is left of {known}, which was killed"


_UNKNOWN = Holder(0, "an unknown process (the lock file is damaged)", "an unknown time")


class DatasetBusy(RuntimeError):
    """Another process holds the dataset; the message names it."""


class DatasetLock:
    """The lock of one dataset, from the side of one who wants it."""

    def __init__(self, paths: DatasetPaths) -> None:
        self.dataset = paths.dataset
        self.path = paths.lock
        self._descriptor: int | None = None
        self._holder: Holder | None = None
        self._signed = False

    def take(self, command: str) -> bool:
        """Take the lock if it is free; whether it was.

        Args:
            command: what takes it, for whoever meets the lock.

        Raises:
            OSError: the workspace lies on a file system without locks.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A lock on a file that somebody has removed meanwhile locks nothing.
            taken = os.stat(self.path).st_ino == os.fstat(descriptor).st_ino
        except (BlockingIOError, FileNotFoundError):
            taken = False
        except BaseException:
            os.close(descriptor)
            raise
        if not taken:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        self._holder = Holder(os.getpid(), command, since, host=platform.node())
        self._signed = False
        _held[self.path] = self
        return True

    def is_held(self) -> bool:
        """Whether a process that lives holds the lock; nothing is written."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def holder(self) -> Holder | None:
        """The holder named in the file: the present one or, between :meth:`take` and :meth:`sign`, a killed one.

        ``None`` where it names nobody. A file that is damaged names somebody unknown, so that what he may have left is
        cleared up.
        """
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        if not text.strip():
            return None
        try:
            known = Holder(**json.loads(text))
        except (ValueError, TypeError, RecursionError):
            known = _UNKNOWN
        types = {"pid": int, "command": str, "since": str, "run_id": str, "host": str}
        sound = all(isinstance(getattr(known, name), kind) for name, kind in types.items()) and known.pid > 0
        return known if sound else _UNKNOWN

    def sign(self, run_id: str = "") -> None:
        """Name this process, and the Dagster run it is about to be in, as the holder."""
        assert self._descriptor is not None, "only the holder signs"
        assert self._holder is not None, "only the holder signs"
        text = json.dumps({**asdict(self._holder), "run_id": run_id}) + "\n"
        # Never empty in between: a killed holder is to be found.
        written = os.pwrite(self._descriptor, text.encode(), 0)
        os.ftruncate(self._descriptor, written)
        self._signed = True

    def release(self) -> None:
        """Give the lock back, leaving nothing to clear up of one's own.

        The record of a holder before, whom nobody has cleared up after yet, stays.
        """
        assert self._descriptor is not None, "only the holder releases"
        if self._signed:
            os.ftruncate(self._descriptor, 0)
        del _held[self.path]
        os.close(self._descriptor)
        self._descriptor = None

    def busy(self) -> DatasetBusy:
        """The error of one who does not wait."""
        return DatasetBusy(f"dataset {self.dataset} is in use by {self.holder() or 'another process'}")


@contextmanager
def dataset_lock(
    paths: DatasetPaths, command: str, wait: bool = True, on_wait: Callable[[str], None] | None = None
) -> Iterator[DatasetLock]:
    """Hold the lock of a dataset: ``with dataset_lock(paths, "make run") as lock: ...``.

    Args:
        paths: the dataset.
        command: what holds it, for whoever meets the lock.
        wait: whether to wait for whoever holds it; those who wait get it in no particular order.
        on_wait: told once who is waited for.

    Raises:
        DatasetBusy: another process holds it, and ``wait`` is false.
    """
    lock = DatasetLock(paths)
    told = False
    while not lock.take(command):
        if not wait:
            raise lock.busy()
        if not told and on_wait:
            on_wait(str(lock.holder() or "another process"))
            told = True
        time.sleep(_PAUSE)
    try:
        yield lock
    finally:
        lock.release()


def announce(paths: DatasetPaths, run_id: str) -> None:
    """Record the Dagster run that this process is about to start, if it holds the lock."""
    if paths.lock in _held:
        _held[paths.lock].sign(run_id)


@contextmanager
def shared_with_children(paths: DatasetPaths) -> Iterator[None]:
    """Let child processes that are started in the block share the lock of a dataset, for as long as they live.

    A lock belongs to the open file, and a child that is started without further ado inherits no open file but the
    standard ones; so the lock file is its standard input, which nobody reads. Does nothing where this process does
    not hold the lock.
    """
    lock = _held.get(paths.lock)
    if lock is None or lock._descriptor is None:
        yield
        return
    before = None
    with suppress(OSError):
        before = os.dup(0)
    os.dup2(lock._descriptor, 0)
    try:
        yield
    finally:
        if before is None:
            os.close(0)
        else:
            os.dup2(before, 0)
            os.close(before)


def descriptor_of(paths: DatasetPaths) -> int | None:
    """The open lock file of a dataset, for a child process to share as its standard input; ``None``: not held here."""
    lock = _held.get(paths.lock)
    return None if lock is None else lock._descriptor


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder, which is created if needed; waits for it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
