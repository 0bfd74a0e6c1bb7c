"""Reading the lines of a gzip file in bounded memory, with their true numbers and byte offsets."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import igzip_threaded, isal_zlib

CHUNK_BYTES = 1 << 18
LONGEST_LINE_BYTES = 16 << 20
KEPT_OF_LONG_LINE_BYTES = 64 << 10


class LandingError(Exception):
    """A raw file, or the folder it should lie in, that cannot be used. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive lines of a file.

    Attributes:
        first_line_number: number of the first of them in the file, from 1.
        first_byte_offset: where it starts in the decompressed stream, in bytes from 0.
        raw: the lines as they stand in the file.
        lines: each of them without its line ending, ``\\n`` or ``\\r\\n``.
        long_line_bytes: for a block that is one line of more than ``LONGEST_LINE_BYTES``: its length without
            the line ending. ``raw`` and ``lines`` then hold its first ``KEPT_OF_LONG_LINE_BYTES`` only.
    """

    first_line_number: int
    first_byte_offset: int
    raw: bytes
    lines: list[bytes]
    long_line_bytes: int | None = None

    def byte_offsets(self) -> np.ndarray:
        """Where each line starts in the decompressed stream, int64 ``[lines]``."""
        ends = np.flatnonzero(np.frombuffer(self.raw, dtype=np.uint8) == ord("\n"))
        starts = np.concatenate([[0], ends + 1])[: len(self.lines)]
        return starts.astype(np.int64) + self.first_byte_offset


class GzipLines:
    """The lines of one gzip file, read once from start to end: ``for block in GzipLines(path): ...``.

    Inflates in a thread of its own (isal's igzip, which releases the interpreter lock), so that a caller who
    parses waits less. Several gzip members end to end are one stream. The last line needs no line ending.

    Attributes:
        path: the file.
        bytes: size of the file, compressed; known after the last block.
        sha256: SHA-256 of the bytes that were read, in hexadecimal; known after the last block.
        lines_read: number of lines so far.

    Raises:
        LandingError: while iterating; the file is missing, empty, not gzip, damaged, cut short, or without a
            line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self.sha256 = ""
        self.lines_read = 0

    def __iter__(self) -> Iterator[Block]:
        self.lines_read = 0
        try:
            with open(self.path, "rb") as file:
                source = _HashingReader(file)
                with igzip_threaded.open(source, "rb", block_size=CHUNK_BYTES) as stream:
                    yield from self._blocks(stream)
        except (EOFError, OSError, isal_zlib.IsalError) as error:
            raise LandingError(self._complaint(error)) from error
        if self.lines_read == 0:
            empty = "is empty (0 bytes)" if source.bytes == 0 else "holds no line"
            raise LandingError(f"{self.path} {empty}; download it again")
        self.bytes, self.sha256 = source.bytes, source.digest.hexdigest()

    def _blocks(self, stream: io.BufferedIOBase) -> Iterator[Block]:
        begun: list[bytes] = []  # what there is of a line that has not ended yet
        begun_bytes = 0
        offset = 0
        while chunk := stream.read(CHUNK_BYTES):
            first_end = chunk.find(b"\n") + 1
            if first_end and begun_bytes + first_end > LONGEST_LINE_BYTES:
                begun.append(chunk[:first_end])
                begun_bytes += first_end
                yield self._long_line(b"".join(begun), offset, begun_bytes)
                offset += begun_bytes
                begun, begun_bytes = [], 0
                chunk = chunk[first_end:]
            end = chunk.rfind(b"\n") + 1
            if end:
                raw = b"".join([*begun, chunk[:end]])
                yield self._whole_lines(raw, offset)
                offset += len(raw)
                begun, begun_bytes = [], 0
                chunk = chunk[end:]
            if begun_bytes <= LONGEST_LINE_BYTES:
                begun.append(chunk)
            begun_bytes += len(chunk)
        if begun_bytes > LONGEST_LINE_BYTES:
            yield self._long_line(b"".join(begun), offset, begun_bytes)
        elif begun_bytes:
            yield self._whole_lines(b"".join(begun), offset)

    def _whole_lines(self, raw: bytes, offset: int) -> Block:
        lines = raw.split(b"\n")
        rest = lines.pop()
        if b"\r" in raw:
            lines = [line.removesuffix(b"\r") for line in lines]
        if rest:
            lines.append(rest)
        first_line_number = self.lines_read + 1
        self.lines_read += len(lines)
        return Block(first_line_number, offset, raw, lines)

    def _long_line(self, start: bytes, offset: int, line_bytes: int) -> Block:
        ending = 2 if start.endswith(b"\r\n") else 1 if start.endswith(b"\n") else 0
        self.lines_read += 1
        kept = start[:KEPT_OF_LONG_LINE_BYTES]
        return Block(self.lines_read, offset, kept, [kept], line_bytes - ending)

    def _complaint(self, error: Exception) -> str:
        """What is wrong with the file, and what to do."""
        try:
            with open(self.path, "rb") as file:
                start = file.read(2)
        except FileNotFoundError:
            return f"{self.path} does not exist; put the dump there"
        except OSError as again:
            return f"{self.path} cannot be read: {again.strerror}"
        if not b"\x1f\x8b".startswith(start):
            return (
                f"{self.path} is not a gzip file: it starts with {start!r}; compress it with gzip, or "
                "download it again (a page saved in its place starts with b'<h' or b'<!')"
            )
        if isinstance(error, EOFError):
            return f"{self.path} is cut short: it ends inside its gzip stream; download it again"
        return f"{self.path} is damaged ({error}); download it again"


class _HashingReader(io.RawIOBase):
    """Passes a file's bytes through, counted and hashed: the digest is of the bytes that were parsed."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        count = self._file.readinto(buffer)
        self.digest.update(memoryview(buffer)[:count])
        self.bytes += count
        return count
