"""The same lines give the same rows however they are compressed; other formats are named, and breaks lose no line."""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.landing.file_lines import FileLines
from ml.data.landing.land import LandingError, content_digest
from ml.data.landing.text_stream import TextStream, first_text
from ml.data.sources.amazon.dumps import land_reviews

SKIPPABLE_FRAME = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


def review(number: int) -> bytes:
    row = {"reviewerID": f"A{number % 5}", "asin": f"B{number}", "overall": 4.0, "unixReviewTime": 1393372800 + number}
    return json.dumps(row).encode() + b"\n"


def read(path: Path, piece_bytes: int = 1 << 19) -> tuple[bytes, str | None]:
    with open(path, "rb") as file:
        stream = TextStream(path, file, piece_bytes)
        pieces = list(stream)
    assert all(0 < len(piece) <= piece_bytes for piece in pieces)
    assert stream.bytes == path.stat().st_size
    return b"".join(pieces), stream.broken


COMPRESSIONS = {
    "plain": lambda parts: b"".join(parts),
    "gzip": lambda parts: gzip.compress(b"".join(parts)),
    "gzip members": lambda parts: b"".join(map(gzip.compress, parts)),
    "zstd": lambda parts: zstd(b"".join(parts)),
    "zstd frames": lambda parts: SKIPPABLE_FRAME + SKIPPABLE_FRAME.join(map(zstd, parts)),
}


@settings(max_examples=8, deadline=None)
@given(parts=st.lists(st.lists(st.integers(0, 99).map(review) | st.just(b"{bad}\n")).map(b"".join), min_size=1))
def test_the_same_lines_land_the_same_however_they_are_compressed(parts):
    if not b"".join(parts):
        parts = [review(1)]
    digests = set()
    with tempfile.TemporaryDirectory() as folder:
        for name, compress in COMPRESSIONS.items():
            dump = Path(folder) / "Some.json"
            dump.write_bytes(compress(parts))
            landed = land_reviews([dump], Path(folder) / name)
            assert landed.lines_read == b"".join(parts).count(b"\n")
            digests.add(content_digest(Path(folder) / name))
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("cut", "blocks", "piece_bytes"),
    [
        *((cut, 0, size) for cut in (5, 30) for size in (1000, 1 << 19)),
        *[(135_000, 1, 1000), (-1, 2, 1 << 19)],
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [(135_000, 1, 1 << 19), (-1, 2, 1000)]),
    ],
)
def test_a_zstd_stream_that_is_cut_short_gives_all_in_front(tmp_path, cut, blocks, piece_bytes):
    text = random.Random(0).randbytes(140_000) + b"x" * 200_000
    (tmp_path / "dump").write_bytes(zstd(text)[:cut])
    found, broken = read(tmp_path / "dump", piece_bytes)
    assert broken == "is cut short: its zstd stream ends"
    assert text.startswith(found)
    # each whole block of 128 KiB can be read, and of one that is not compressed what there is
    assert blocks << 17 <= len(found) < (blocks + 1) << 17


def test_damage_in_a_zstd_stream_is_told_and_what_follows_is_not_guessed(tmp_path):
    whole = b"".join(map(review, range(50)))
    for data, words in [
        (zstd(whole) + b"garbage", "is damaged: its zstd stream cannot be read further (Unknown frame descriptor)"),
        (zstd(whole) + zstd(whole)[:2], "is cut short: its zstd stream ends"),
        (zstd(whole) + b"\x28\xb5\x2f\xfd" + b"\xff" * 20, "is damaged: its zstd stream cannot be read further"),
    ]:
        (tmp_path / "Some.json.zst").write_bytes(data)
        found, broken = read(tmp_path / "Some.json.zst", 100)
        assert (found, broken[: len(words)]) == (whole, words)
        landed = land_reviews([tmp_path / "Some.json.zst"], tmp_path / "landed")
        assert (landed.rows_kept, landed.rows_rejected) == (50, 0)
        (problem,) = landed.problems
        assert problem.startswith(f"Some.json.zst {words}")
        assert problem.endswith(f"behind line 50, after {len(whole):,} bytes of text; download it again")


def tar(data: bytes, form: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        member = tarfile.TarInfo("folder/reviews.jsonl")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def old_tar(data: bytes) -> bytes:
    """As before POSIX, without the word "ustar"; the checksum is of the header with blanks in its own place."""
    header = bytearray(tar(data)[:512])
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + tar(data)[512:]


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("reviews.jsonl", data)
    return buffer.getvalue()


LINES = b"".join(map(review, range(20)))
OTHER_FORMATS = {
    "tar": (tar(LINES), "is a tar archive; unpack it, and give the file of lines"),
    "tar in gzip": (gzip.compress(tar(LINES)), "is compressed with gzip, and its content is a tar archive; unpack it"),
    "GNU tar in gzip": (gzip.compress(tar(LINES, tarfile.GNU_FORMAT)), "its content is a tar archive"),
    "old tar in gzip": (gzip.compress(old_tar(LINES)), "its content is a tar archive"),
    "tar in zstd": (zstd(tar(LINES)), "is compressed with zstd, and its content is a tar archive"),
    "gzip in gzip": (gzip.compress(gzip.compress(LINES)), "is compressed with gzip twice; decompress it once"),
    "gzip in zstd": (zstd(gzip.compress(LINES)), "is compressed twice, inside with gzip; decompress it once"),
    "zstd in gzip": (gzip.compress(zstd(LINES)), "is compressed twice, inside with zstd; decompress it once"),
    "zip": (zipped(LINES), "is a zip archive; unpack it"),
    "zip in gzip": (gzip.compress(zipped(LINES)), "its content is a zip archive; unpack it"),
    "bzip2": (bz2.compress(LINES), "is compressed with bzip2; decompress it"),
    "xz": (lzma.compress(LINES), "is compressed with xz; decompress it"),
    "xz in gzip": (gzip.compress(lzma.compress(LINES)), "its content is compressed with xz; decompress it"),
    "Parquet in gzip": (gzip.compress(b"PAR1" + bytes(600)), "its content is a Parquet file"),
    "NULs in gzip": (gzip.compress(bytes(5000)), "is neither compressed with gzip or zstd nor text"),
    "UTF-16 in gzip": (gzip.compress(LINES.decode().encode("utf-16")), "its content is text in UTF-16; save it as"),
    "UTF-16 without a mark": (LINES.decode().encode("utf-16-le"), "is text in UTF-16 or UTF-32 ("),
    "big-endian UTF-16": (LINES.decode().encode("utf-16-be"), "is text in UTF-16 or UTF-32 ("),
    "UTF-32": (LINES.decode().encode("utf-32"), "is text in UTF-32; save it as UTF-8"),
    "UTF-32 without a mark": (LINES.decode().encode("utf-32-le"), "is text in UTF-16 or UTF-32 ("),
    "zlib": (zlib.compress(LINES), "is compressed with zlib alone; decompress it"),
    "compress": (b"\x1f\x9d\x90" + bytes(range(256)), "compressed with compress (.Z); decompress it"),
    "a workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is a workbook of Excel; save it as CSV"),
    "Feather": (b"ARROW1\0\0" + bytes(600), "is an Arrow or Feather file; write it as Parquet or CSV"),
    "Avro": (b"Obj\x01\x04\x16avro.schema" + bytes(200), "is an Avro file"),
    "PDF": (b"%PDF-1.4\n", "is a PDF"),
    "XML": (b'<?xml version="1.0"?><a/>', "is XML; write it as CSV"),
    "a page behind blank lines": (b"\r\n\n <html><body>", "is a web page, not a dump"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_other_formats_are_named_with_the_remedy(tmp_path, name):
    data, message = OTHER_FORMATS[name]
    dump = tmp_path / "Shop.jsonl.gz"
    dump.write_bytes(data)
    with pytest.raises(LandingError) as error:
        land_reviews([dump], tmp_path / "landed")
    assert str(error.value).startswith(f"{dump} ")
    assert message in str(error.value)
    assert not (tmp_path / "landed").exists()


def test_a_dump_without_permission_or_on_a_failing_disk_is_named(tmp_path, monkeypatch):
    dump = tmp_path / "Some.json.zst"
    dump.write_bytes(zstd(LINES))
    real_open = open

    def refuse(path, *rest, **named):
        if str(path) == str(dump):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *rest, **named)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(LandingError, match=r"Some\.json\.zst cannot be read: Permission denied"):
        list(FileLines(dump))
    with pytest.raises(LandingError, match=r"Some\.json\.zst cannot be read: Permission denied"):
        land_reviews([dump], tmp_path / "landed")
    monkeypatch.undo()

    def fail(self, buffer):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("ml.data.landing.text_stream._HashingReader.readinto", fail)
    with pytest.raises(LandingError, match=r"Some\.json\.zst cannot be read: Input/output error"):
        list(FileLines(dump))


def test_a_large_zstd_file_takes_little_memory(tmp_path):
    import tracemalloc

    text = LINES * 40_000
    (tmp_path / "Some.json.zst").write_bytes(zstd(text))
    size = len(text)
    del text
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    most = found = 0
    for block in FileLines(tmp_path / "Some.json.zst"):
        found += len(block.raw)
        most = max(most, pa.total_allocated_bytes() - before)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == size > 60 << 20
    assert peak + most < 16 << 20


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
def test_the_first_text_of_a_file(tmp_path, compress):
    (tmp_path / "dump").write_bytes(compress([LINES, LINES]))
    for size in (1, 10, len(LINES), 1 << 20):
        assert first_text(tmp_path / "dump", size) == (LINES * 2)[:size]
    assert first_text(tmp_path / "missing", 10) == b""
    (tmp_path / "dump").write_bytes(gzip.compress(tar(LINES)))
    assert first_text(tmp_path / "dump", 10) == b""
