"""Reading the lines of a file, plain or compressed, in bounded memory, with their true numbers and byte offsets."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ml.data.landing.text_stream import BYTE_ORDER_MARK, OtherFormat, TextStream

# of the text
CHUNK_BYTES = 1 << 19
CHUNKS_AHEAD = 4
LONGEST_LINE_BYTES = 16 << 20
KEPT_OF_LONG_LINE_BYTES = 64 << 10


class LandingError(Exception):
    """A raw file, or the folder it should lie in, that cannot be used. The message says what to do."""


class RefusedLine(LandingError):
    """A line because of which a whole file is refused.

    Args:
        path: the file.
        index: of the line among those that the reader was given; whoever knows where they stand numbers it.
        problem: what is wrong with it and what to do, to be read behind the file and the number of the line.
    """

    def __init__(self, path: Path, index: int, problem: str) -> None:
        super().__init__(f"{path}: a line {problem}")
        self.path, self.index, self.problem = path, index, problem

    def numbered(self, first_line_number: int) -> LandingError:
        """The same with the number of the line; that of index 0 is given."""
        return LandingError(f"{self.path}, line {first_line_number + self.index:,} {self.problem}")


@dataclass(frozen=True)
class Block:
    """Some consecutive lines of a file.

    Attributes:
        first_line_number: number of the first of them in the file, from 1.
        first_byte_offset: where it starts in the decompressed stream, in bytes from 0.
        raw: the lines as they stand in the file.
        long_line_bytes: for a block that is one line of more than ``LONGEST_LINE_BYTES``: its length without
            the line ending. ``raw`` and ``lines`` then hold its first ``KEPT_OF_LONG_LINE_BYTES`` only.
        cut_short: the block is the start of one line, at which the stream broke off.
    """

    first_line_number: int
    first_byte_offset: int
    raw: bytes
    long_line_bytes: int | None = None
    cut_short: bool = False

    @cached_property
    def lines(self) -> list[bytes]:
        """Each line without its ending (LF or CR LF) and without a byte order mark; split when asked for."""
        if self.long_line_bytes is not None or self.cut_short:
            return [self.raw]
        lines = self.raw.split(b"\n")
        rest = lines.pop()
        if b"\r" in self.raw:
            lines = [line.removesuffix(b"\r") for line in lines]
        if rest:
            lines.append(rest)
        if self.first_byte_offset == 0 and self.raw.startswith(BYTE_ORDER_MARK):
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        return lines

    def byte_offsets(self) -> np.ndarray:
        """Offset of each line in the decompressed stream, int64 ``[lines]``."""
        if b"\r" not in self.raw and not self.raw.startswith(BYTE_ORDER_MARK):
            lengths = np.fromiter(map(len, self.lines), dtype=np.int64, count=len(self.lines)) + 1
            return np.cumsum(lengths) - lengths + self.first_byte_offset
        ends = np.flatnonzero(np.frombuffer(self.raw, dtype=np.uint8) == ord("\n"))
        starts = np.concatenate([[0], ends + 1])[: len(self.lines)]
        return starts.astype(np.int64) + self.first_byte_offset


class FileLines:
    """The lines of one file, read once from start to end: ``for block in FileLines(path): ...``.

    A file that starts with the bytes of gzip or zstd is decompressed, whatever its name
    (:class:`ml.data.landing.text_stream.TextStream`); any other is taken as it stands. Reads ahead in a thread of its
    own (both decompressors release the interpreter lock), so that a caller who parses waits less. The last line needs
    no line ending.

    A compressed stream that breaks off or is damaged gives all lines in front of the break, then what there is of the
    line at it, as a block of its own, and says so in ``problem``.

    Attributes:
        path: the file.
        bytes: size of the file as it lies on disk; known after the last block.
        sha256: SHA-256 of the bytes that were read, in hexadecimal; known after the last block.
        lines_read: number of lines so far, a piece of a line included.
        problem: what is wrong with a broken stream, and what to do, to be read behind the name of the file;
            ``None`` for a sound one; known after the last block.

    Raises:
        LandingError: while iterating; the file is missing, empty, in another format, not text, or without a line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self.sha256 = ""
        self.lines_read = 0
        self.problem: str | None = None

    def __iter__(self) -> Generator[Block, None, None]:
        self.lines_read = 0
        self.problem = None
        try:
            with open(self.path, "rb") as file:
                stream = TextStream(self.path, file, CHUNK_BYTES)
                with closing(_ahead(iter(stream))) as ahead:
                    yield from self._blocks(ahead, stream)
        except OtherFormat as error:
            raise LandingError(f"{self.path} {error}") from error
        except OSError as error:
            raise LandingError(complaint(self.path, error)) from error
        if self.lines_read == 0:
            empty = "is empty (0 bytes)" if stream.bytes == 0 else stream.broken or "holds no line"
            raise LandingError(f"{self.path} {empty}; download it again")
        self.bytes, self.sha256 = stream.bytes, stream.sha256

    def _blocks(self, chunks: Iterator[bytes], stream: TextStream) -> Iterator[Block]:
        begun: list[bytes] = []  # what there is of a line that has not ended yet
        begun_bytes = 0
        offset = 0
        for chunk in chunks:
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
        rest = b"".join(begun)
        if stream.broken and begun_bytes:
            self.lines_read += 1
            long = begun_bytes if begun_bytes > LONGEST_LINE_BYTES else None
            kept = rest[:KEPT_OF_LONG_LINE_BYTES] if long else rest
            yield Block(self.lines_read, offset, kept, long, cut_short=True)
        elif begun_bytes > LONGEST_LINE_BYTES:
            yield self._long_line(rest, offset, begun_bytes)
        elif begun_bytes:
            yield self._whole_lines(rest, offset)
        if stream.broken and self.lines_read:
            place = "inside" if begun_bytes else "behind"
            where = f"{place} line {self.lines_read:,}, after {offset + begun_bytes:,} bytes of text"
            self.problem = f"{stream.broken} {where}; download it again"

    def _whole_lines(self, raw: bytes, offset: int) -> Block:
        first_line_number = self.lines_read + 1
        self.lines_read += raw.count(b"\n") + (not raw.endswith(b"\n"))
        return Block(first_line_number, offset, raw)

    def _long_line(self, start: bytes, offset: int, line_bytes: int) -> Block:
        ending = 2 if start.endswith(b"\r\n") else 1 if start.endswith(b"\n") else 0
        self.lines_read += 1
        kept = start[:KEPT_OF_LONG_LINE_BYTES]
        return Block(self.lines_read, offset, kept, line_bytes - ending)


def complaint(path: Path, error: OSError) -> str:
    """Error message for a file that cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist; put the dump there"
    return f"{path} cannot be read: {error.strerror}"


def _ahead(chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The same chunks, made in a thread of its own that runs at most ``CHUNKS_AHEAD`` in front."""
    made: queue.Queue[bytes | BaseException | None] = queue.Queue(CHUNKS_AHEAD)
    left = threading.Event()

    def make() -> None:
        ending: BaseException | None = None
        try:
            for chunk in chunks:
                made.put(chunk)
                if left.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 - raised again where the chunks are taken
            ending = error
        made.put(ending)

    thread = threading.Thread(target=make, name="raw2rank-read-ahead", daemon=True)
    thread.start()
    try:
        while isinstance(chunk := made.get(), bytes):
            yield chunk
        if chunk is not None:
            raise chunk
    finally:
        left.set()
        while thread.is_alive():
            with suppress(queue.Empty):
                made.get_nowait()
            thread.join(0.001)
