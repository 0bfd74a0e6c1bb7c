"""The start of a file that has not come whole yet: kept, locked, and gone on with."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from ml.data.download.errors import DownloadError
from ml.data.files import atomic_file


@dataclass(frozen=True)
class State:
    """Headers of the file that a partial download belongs to."""

    url: str
    etag: str | None
    last_modified: str | None
    total: int | None

    @property
    def validator(self) -> str | None:
        """A validator for If-Range; a weak ETag is not one (RFC 9110, 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


@dataclass
class Part:
    """The start of a file, open and locked.

    Attributes:
        target: what it becomes.
        file: opened for reading and writing, unbuffered.
        state: of which version it is the start; ``None``: that is not known, and it cannot be gone on with.
        received: bytes transferred by this process.
        restarts: how often its content was given up.
    """

    target: Path
    file: BinaryIO
    state: State | None = None
    received: int = 0
    restarts: int = 0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = os.fstat(self.file.fileno()).st_size
        try:
            self.state = State(**json.loads(self.state_path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            self.state = None

    @property
    def path(self) -> Path:
        return part_path(self.target)

    @property
    def state_path(self) -> Path:
        return state_path(self.target)

    def begin(self, state: State | None) -> None:
        """Give up the content, and begin with that of a version, or (``None``) with none."""
        if self.size:
            self.restarts += 1
        # in this order: content is never beside the state of another version
        self.file.truncate(0)
        self.size = 0
        self.state = state
        if state is None:
            self.state_path.unlink(missing_ok=True)
        else:
            with atomic_file(self.state_path) as temporary:
                temporary.write_text(json.dumps(asdict(state), indent=1) + "\n")

    def append(self, data: bytes) -> None:
        self.file.seek(self.size)
        # an unbuffered write may take less than it was given
        view = memoryview(data)
        while view:
            written = self.file.write(view)
            self.size += written
            self.received += written
            view = view[written:]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.state_path.unlink(missing_ok=True)

    def put_in_place(self) -> None:
        """Give it its name, once it is on disk."""
        os.fsync(self.file.fileno())
        os.replace(self.path, self.target)
        self.state_path.unlink(missing_ok=True)
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def part_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def state_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.state")


@contextmanager
def locked_part(target: Path) -> Iterator[Part]:
    """The part of a target, made where there is none; an empty one is removed at the end.

    Raises:
        DownloadError: another process holds it.
    """
    path = part_path(target)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        file = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise DownloadError(
                f"another process is downloading {target.name} into {target.parent}; wait for it, or end it"
            ) from None
        except OSError:
            # a file system without locks: as safe as it gets there
            break
        # the holder before may have renamed or removed the file that was opened
        try:
            if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                break
        except FileNotFoundError:
            pass
        file.close()
    with closing(file):
        part = Part(target, file)
        try:
            yield part
        finally:
            if part.size == 0:
                part.remove()
