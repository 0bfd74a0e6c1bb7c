"""Reading the lines of a file, gzip or plain, in bounded memory, with their true numbers and byte offsets."""

from __future__ import annotations

import gzip
import hashlib
import io
import queue
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import igzip, isal_zlib

# of a file as it lies on disk, and of its text
READ_BYTES = 1 << 16
CHUNK_BYTES = 1 << 19
CHUNKS_AHEAD = 4
LONGEST_LINE_BYTES = 16 << 20
KEPT_OF_LONG_LINE_BYTES = 64 << 10

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_START = b"\x1f\x8b"
_GZIP_FORMAT = 31
# What is seen at the start of a file that was taken for a dump, and is none.
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; decompress it",
    b"\xfd7zXZ\x00": "compressed with xz; decompress it",
    b"BZh": "compressed with bzip2; decompress it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"PAR1": "a Parquet file; give a file of lines",
    b"\xff\xfe": "text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as UTF-8",
    b"<!": "a page of the web, not a dump; download it again",
    b"<h": "a page of the web, not a dump; download it again",
    b"<H": "a page of the web, not a dump; download it again",
}
_CONTROL_BYTES = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r")
_LARGEST_SHARE_OF_CONTROL_BYTES = 0.3


class LandingError(Exception):
    """A raw file, or the folder it should lie in, that cannot be used. The message says what to do."""


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
        """Each line without its ending, ``\\n`` or ``\\r\\n``, the first without a byte order mark; split when asked for."""
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
        """Where each line starts in the decompressed stream, int64 ``[lines]``."""
        if b"\r" not in self.raw and not self.raw.startswith(BYTE_ORDER_MARK):
            lengths = np.fromiter(map(len, self.lines), dtype=np.int64, count=len(self.lines)) + 1
            return np.cumsum(lengths) - lengths + self.first_byte_offset
        ends = np.flatnonzero(np.frombuffer(self.raw, dtype=np.uint8) == ord("\n"))
        starts = np.concatenate([[0], ends + 1])[: len(self.lines)]
        return starts.astype(np.int64) + self.first_byte_offset


class FileLines:
    """The lines of one file, read once from start to end: ``for block in FileLines(path): ...``.

    A file that starts with the two bytes of gzip is decompressed, whatever its name; any other is taken as it
    stands. Reads ahead in a thread of its own (isal's igzip releases the interpreter lock), so that a caller
    who parses waits less. Several gzip members end to end are one stream, zeros behind them are padding. The
    last line needs no line ending.

    A gzip stream that breaks off or is damaged gives all lines in front of the break, then what there is of the
    line at it, as a block of its own, and says so in ``problem``.

    Attributes:
        path: the file.
        bytes: size of the file as it lies on disk; known after the last block.
        sha256: SHA-256 of the bytes that were read, in hexadecimal; known after the last block.
        lines_read: number of lines so far, a piece of a line included.
        problem: what is wrong with a broken stream, and what to do, to be read behind the name of the file;
            ``None`` for a sound one; known after the last block.

    Raises:
        LandingError: while iterating; the file is missing, empty, neither gzip nor text, or without a line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self.sha256 = ""
        self.lines_read = 0
        self.problem: str | None = None

    def __iter__(self) -> Iterator[Block]:
        self.lines_read = 0
        self.problem = None
        try:
            with open(self.path, "rb") as file:
                source = _HashingReader(file)
                chunks = _Chunks(self.path, source)
                with closing(_ahead(iter(chunks))) as ahead:
                    yield from self._blocks(ahead, chunks)
        except OSError as error:
            raise LandingError(complaint(self.path, error)) from error
        if self.lines_read == 0:
            empty = "is empty (0 bytes)" if source.bytes == 0 else chunks.broken or "holds no line"
            raise LandingError(f"{self.path} {empty}; download it again")
        self.bytes, self.sha256 = source.bytes, source.digest.hexdigest()

    def _blocks(self, chunks: Iterator[bytes], stream: _Chunks) -> Iterator[Block]:
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
    """What to tell of a file that cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist; put the dump there"
    return f"{path} cannot be read: {error.strerror}"


class _Chunks:
    """The text of a file in pieces of at most ``CHUNK_BYTES``; ``broken`` says, in the end, where gzip failed."""

    def __init__(self, path: Path, source: _HashingReader) -> None:
        self._path = path
        self._source = source
        self.broken: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        start = self._source.peek()
        chunks = self._inflated() if start and _GZIP_START.startswith(start[:2]) else self._plain(start)
        yield from chunks
        # so that size and digest are those of the file, whatever stands behind a break
        while self._source.read(CHUNK_BYTES):
            pass

    def _plain(self, start: bytes) -> Iterator[bytes]:
        for other, what in _OTHER_FORMATS.items():
            if start.startswith(other):
                raise LandingError(f"{self._path} is {what}")
        control_bytes = len(start) - len(start.translate(None, _CONTROL_BYTES))
        if control_bytes > len(start) * _LARGEST_SHARE_OF_CONTROL_BYTES:
            raise LandingError(
                f"{self._path} is neither gzip nor text: it starts with {start[:8]!r}; give a file of lines, or one "
                "compressed with gzip"
            )
        while text := self._source.read(CHUNK_BYTES):
            yield text

    def _inflated(self) -> Iterator[bytes]:
        given = 0
        with igzip.IGzipFile(fileobj=self._source, mode="rb") as stream:
            try:
                while text := stream.read(CHUNK_BYTES):
                    given += len(text)
                    yield text
                return
            except (EOFError, gzip.BadGzipFile, isal_zlib.IsalError):
                pass
        # What stands in front of a break has to be whole, and igzip gives up some bytes before it.
        yield from self._inflated_with_care(given)

    def _inflated_with_care(self, given: int) -> Iterator[bytes]:
        """The text up to the last byte that can be had, less the first ``given`` bytes."""
        with open(self._path, "rb") as file:
            waiting = file.read(READ_BYTES)
            while waiting and self.broken is None:
                member = zlib.decompressobj(wbits=_GZIP_FORMAT)
                while waiting and not member.eof and self.broken is None:
                    before = member.copy()
                    try:
                        text = member.decompress(waiting)
                    except zlib.error as error:
                        text = _up_to_the_damage(before, waiting)
                        self.broken = f"is damaged: its gzip stream cannot be read further ({error})"
                    new = text[given:]
                    given = max(0, given - len(text))
                    yield from (new[place : place + CHUNK_BYTES] for place in range(0, len(new), CHUNK_BYTES))
                    if not member.eof:
                        waiting = file.read(READ_BYTES)
                if member.eof:
                    waiting = _behind_padding(member.unused_data, file)
                    if waiting and not _GZIP_START.startswith(waiting[:2]):
                        self.broken = "is damaged: something that is not gzip follows its gzip stream,"
                elif self.broken is None:
                    self.broken = "is cut short: its gzip stream ends"


def _behind_padding(waiting: bytes, file: BinaryIO) -> bytes:
    """The first bytes from the end of a gzip member on that are not zeros in front of the next; empty at the end."""
    while not (waiting := waiting.lstrip(b"\0")):
        waiting = file.read(READ_BYTES)
        if not waiting:
            break
    return waiting


def _up_to_the_damage(member: zlib._Decompress, waiting: bytes) -> bytes:
    """The text of compressed bytes at some of which zlib fails, up to there.

    A call that fails gives nothing, so it is called with the bytes in front of the first that makes it fail.
    """
    sound, failing = 0, len(waiting)
    while failing - sound > 1:
        middle = (sound + failing) // 2
        try:
            member.copy().decompress(waiting[:middle])
        except zlib.error:
            failing = middle
        else:
            sound = middle
    text = bytearray(member.decompress(waiting[:sound]))
    # of the failing byte the first bits may be sound
    rest = waiting[sound:failing]
    with suppress(zlib.error):
        while byte := member.decompress(rest, 1):
            text += byte
            rest = member.unconsumed_tail
    return bytes(text)


def _ahead(chunks: Iterator[bytes]) -> Iterator[bytes]:
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


class _HashingReader(io.RawIOBase):
    """Passes a file's bytes through, counted and hashed: the digest is of the bytes that were parsed."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def peek(self) -> bytes:
        """Some of the next bytes, at least two unless the file ends; they are read again."""
        return self._file.peek(2)

    def readinto(self, buffer: memoryview) -> int:
        count = self._file.readinto(buffer)
        self.digest.update(memoryview(buffer)[:count])
        self.bytes += count
        return count
