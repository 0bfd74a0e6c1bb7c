"""The text of a file in pieces: plain, or compressed with gzip or zstd, recognised by its first bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from isal import igzip, isal_zlib

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# within a class that has a property of that name, `bytes` is the property
_Bytes = bytes

# of a file as it lies on disk
READ_BYTES = 1 << 16
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_GZIP_START = b"\x1f\x8b"
_GZIP_FORMAT = 31
_ZSTD_START = b"\x28\xb5\x2f\xfd"
# a frame that zstd skips; some tools begin a file with one
_ZSTD_SKIPPABLE_STARTS = tuple(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))
# How the formats that are not read begin, and what to do about them.
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive; unpack it (a workbook of Excel: save it as CSV)",
    b"PK\x05\x06": "an empty zip archive; give a file of lines",
    b"\xfd7zXZ\x00": "compressed with xz; decompress it",
    b"BZh": "compressed with bzip2; decompress it",
    b"\x04\x22\x4d\x18": "compressed with lz4; decompress it",
    b"\x1f\x9d": "compressed with compress (.Z); decompress it",
    b"x\x9c": "compressed with zlib alone; decompress it",
    b"\xff\x06\x00\x00sNaPpY": "compressed with snappy; decompress it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!\x1a\x07": "a RAR archive; unpack it",
    b"PAR1": "a Parquet file; give a file of lines",
    b"SQLite format 3\0": "a SQLite database; give a file of lines",
    b"\x89HDF\r\n": "an HDF5 file; give a file of lines",
    b"\x93NUMPY": "a NumPy array; give a file of lines",
    b"\xff\xfe\x00\x00": "text in UTF-32; save it as UTF-8",
    b"\x00\x00\xfe\xff": "text in UTF-32; save it as UTF-8",
    b"\xff\xfe": "text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as UTF-8",
    b"ARROW1\x00\x00": "an Arrow or Feather file; write it as Parquet or CSV",
    b"Obj\x01": "an Avro file; write it as Parquet, CSV or JSON lines",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a workbook of Excel; save it as CSV",
    b"%PDF-": "a PDF; give a file of lines",
    b"<?xml": "XML; write it as CSV or JSON lines",
    b"version https://git-lfs": "a pointer of Git LFS, not the file it stands for; run git lfs pull",
    b"<!": "a web page, not a dump; download it again",
    b"<h": "a web page, not a dump; download it again",
    b"<H": "a web page, not a dump; download it again",
}
_COMPRESSED_AGAIN = {
    _GZIP_START: "compressed twice, inside with gzip; decompress it once",
    _ZSTD_START: "compressed twice, inside with zstd; decompress it once",
}
_TAR_HEADER_BYTES = 512
_CONTROL_BYTES = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r")
_LARGEST_SHARE_OF_CONTROL_BYTES = 0.3


class OtherFormat(Exception):
    """A file that holds no text in a form that is read; the message stands behind the name of the file."""


class TextStream:
    """The text of a file in pieces, in bounded memory: ``for text in TextStream(path, file, piece_bytes): ...``.

    Several gzip members or zstd frames end to end are one stream; zeros behind the last gzip member are padding. A
    compressed stream that breaks off or is damaged gives all of the text in front of the break, and says so in
    ``broken``.

    Attributes:
        broken: what is wrong with a compressed stream, to be read behind the name of the file; ``None`` for a sound
            one; known after the last piece.
        bytes: number of bytes read from the file; those of the whole file after the last piece.

    Raises:
        OtherFormat: while iterating; the file is an archive, compressed otherwise or twice, or no text.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, file: io.BufferedReader, piece_bytes: int) -> None:
        self._path = path
        self._source = _HashingReader(file)
        self._piece_bytes = piece_bytes
        self.broken: str | None = None

    @property
    def bytes(self) -> int:
        return self._source.bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes that were read, in hexadecimal."""
        return self._source.digest.hexdigest()

    def __iter__(self) -> Generator[_Bytes, None, None]:
        start = self._source.peek()
        if start and _GZIP_START.startswith(start[:2]):
            pieces = _checked(self._inflated(), "gzip")
        elif start.startswith((_ZSTD_START, *_ZSTD_SKIPPABLE_STARTS)):
            pieces = _checked(self._decompressed(), "zstd")
        else:
            _refuse_other_formats(start)
            _refuse_other_bytes(start)
            pieces = self._plain()
        yield from pieces
        # so that size and digest are those of the file, whatever stands behind a break
        while self._source.read(self._piece_bytes):
            pass

    def _plain(self) -> Generator[_Bytes, None, None]:
        while text := self._source.read(self._piece_bytes):
            yield text

    def _inflated(self) -> Generator[_Bytes, None, None]:
        given = 0
        with igzip.IGzipFile(fileobj=self._source, mode="rb") as stream:
            try:
                while text := stream.read(self._piece_bytes):
                    given += len(text)
                    yield text
                return
            except (EOFError, gzip.BadGzipFile, isal_zlib.IsalError):  # type: ignore[misc]  # a class, not as in the stub
                pass
        # What stands in front of a break has to be whole, and igzip gives up some bytes before it.
        yield from self._inflated_with_care(given)

    def _inflated_with_care(self, given: int) -> Generator[_Bytes, None, None]:
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
                    size = self._piece_bytes
                    yield from (new[place : place + size] for place in range(0, len(new), size))
                    if not member.eof:
                        waiting = file.read(READ_BYTES)
                if member.eof:
                    waiting = _behind_padding(member.unused_data, file)
                    if waiting and not _GZIP_START.startswith(waiting[:2]):
                        self.broken = "is damaged: something that is not gzip follows its gzip stream,"
                elif self.broken is None:
                    self.broken = "is cut short: its gzip stream ends"

    def _decompressed(self) -> Generator[_Bytes, None, None]:
        given = 0
        try:
            for text in _zstd_pieces(self._source, self._piece_bytes):
                given += len(text)
                yield text
            return
        except OSError as error:
            if error.errno is not None:
                raise
            if "memory" in str(error):
                raise OtherFormat(
                    "is compressed with a larger window than zstd reads by default (zstd --long); compress it again "
                    "without"
                ) from error
            self.broken = _zstd_problem(error)
        # What Arrow has decompressed in the call that fails is lost. With single bytes of the file near the break there
        # is little of that; and what there is, is less than a piece, and had in single bytes of the text.
        careful_from = max(0, self._source.bytes - 2 * READ_BYTES)
        more = 0
        with closing(self._behind(given, careful_from, self._piece_bytes)) as pieces, suppress(OSError):
            for text in pieces:
                more += len(text)
                yield text
        with closing(self._behind(given + more, careful_from, 1)) as pieces, suppress(OSError):
            yield from _joined(pieces, self._piece_bytes)

    def _behind(self, given: int, careful_from: int, piece_bytes: int) -> Generator[_Bytes, None, None]:
        """The text of a damaged zstd stream behind the first ``given`` bytes, in pieces of ``piece_bytes``."""
        with open(self._path, "rb", buffering=0) as file:
            slow = _SlowAtTheEnd(file, careful_from)
            stream = _zstd_stream(slow)
            while given:
                given -= len(stream.read(min(given, self._piece_bytes)))
            while text := stream.read(piece_bytes):
                yield text


def first_text(path: Path, size: int) -> bytes:
    """At most ``size`` bytes from the start of a file's text; fewer, or none, where it cannot be read."""
    pieces: list[bytes] = []
    missing = size
    try:
        with open(path, "rb") as file, closing(iter(TextStream(path, file, READ_BYTES))) as stream:
            for text in stream:
                pieces.append(text)
                missing -= len(text)
                if missing <= 0:
                    break
    except (OSError, OtherFormat):
        # what is wrong with the file is reported where it is read
        pass
    return b"".join(pieces)[:size]


def _checked(pieces: Iterator[bytes], compression: str) -> Iterator[bytes]:
    """The same pieces, the first of which must not be another format under the compression."""
    first = True
    for text in pieces:
        if first:
            for start, what in _COMPRESSED_AGAIN.items():
                if text.startswith(start):
                    is_twice = compression == "gzip" and start == _GZIP_START
                    raise OtherFormat("is compressed with gzip twice; decompress it once" if is_twice else f"is {what}")
            _refuse_other_formats(text, f"is compressed with {compression}, and its content is ")
            if len(text) >= _TAR_HEADER_BYTES:
                _refuse_other_bytes(text[:READ_BYTES])
        first = False
        yield text


def _refuse_other_formats(start: bytes, words: str = "is ") -> None:
    # a page may begin with blank lines
    text = start.lstrip(b" \t\r\n")
    for other, what in _OTHER_FORMATS.items():
        if start.startswith(other) or (other.startswith(b"<") and text.startswith(other)):
            raise OtherFormat(words + what)
    if _is_tar(start):
        raise OtherFormat(f"{words}a tar archive; unpack it, and give the file of lines that is in it")


def _refuse_other_bytes(start: bytes) -> None:
    if half := _half_of_zeros(start):
        raise OtherFormat(f"is text in UTF-16 or UTF-32 ({half} bytes are zeros); save it as UTF-8")
    control_bytes = len(start) - len(start.translate(None, _CONTROL_BYTES))
    if control_bytes > len(start) * _LARGEST_SHARE_OF_CONTROL_BYTES:
        raise OtherFormat(
            f"is neither compressed with gzip or zstd nor text: it starts with {start[:8]!r}; give a file of lines, "
            "plain or compressed"
        )


def _half_of_zeros(start: bytes) -> str | None:
    """Which bytes of a text are zeros, where it is in UTF-16 or UTF-32 without a byte order mark."""
    for name, some, others in (("odd", start[1::2], start[::2]), ("even", start[::2], start[1::2])):
        if len(some) > 1 and some.count(0) > 0.9 * len(some) and others.count(0) < 0.6 * len(others):
            return name
    return None


def _is_tar(start: bytes) -> bool:
    """Whether some bytes are the header of a tar archive, by its checksum (in the oldest format too)."""
    header = start[:_TAR_HEADER_BYTES]
    if len(header) < _TAR_HEADER_BYTES:
        return False
    digits = header[148:156].strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        return False
    return int(digits, 8) == sum(header) - sum(header[148:156]) + 8 * ord(" ")


def _zstd_stream(source: io.RawIOBase):
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd")


def _zstd_pieces(source: io.RawIOBase, piece_bytes: int) -> Iterator[bytes]:
    stream = _zstd_stream(source)
    while text := stream.read(piece_bytes):
        yield text


def _zstd_problem(error: OSError) -> str:
    if "Truncated" in str(error):
        return "is cut short: its zstd stream ends"
    return f"is damaged: its zstd stream cannot be read further ({str(error).rpartition(': ')[2]})"


def _joined(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Small pieces in larger ones; what there is in front of an error comes before it."""
    held: list[bytes] = []
    try:
        for piece in pieces:
            held.append(piece)
            if len(held) == size:
                yield b"".join(held)
                held = []
    except OSError:
        pass
    if held:
        yield b"".join(held)


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

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = self._file.readinto(buffer)
        self.digest.update(memoryview(buffer)[:count])
        self.bytes += count
        return count


class _SlowAtTheEnd(io.RawIOBase):
    """Passes a file's bytes through, single bytes from some place on."""

    def __init__(self, file: io.FileIO, careful_from: int) -> None:
        self._file = file
        self._careful_from = careful_from
        self._bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        size = min(memoryview(buffer).nbytes, max(1, self._careful_from - self._bytes))
        count = self._file.readinto(memoryview(buffer)[:size])
        self._bytes += count
        return count
