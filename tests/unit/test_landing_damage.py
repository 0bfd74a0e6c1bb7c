"""Landing of damaged dumps: whatever is wrong with a file, each of its lines is accounted for, exactly."""

import gzip
import json
import math
import random
import struct
import tempfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from costs import others_slow
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from ml.data import versions
from ml.data.landing import file_lines as lines
from ml.data.landing import line_files as landing_lines
from ml.data.landing import text_stream
from ml.data.landing.file_lines import LandingError
from ml.data.landing.land import read_lines
from ml.data.landing.schema import INTERACTIONS_SCHEMA, FileCounts, SourceFile
from ml.data.sources.amazon.dumps import land_reviews
from ml.data.sources.amazon.v2018 import REVIEW_REASONS, Reject, ReviewLines, read_review

FIELDS = ("user_id", "item_id", "rating", "timestamp", "verified", "invalid_fields")


# --- a naive reading -----------------------------------------------------------------------------------------


def naive_review(raw: bytes) -> tuple | None:
    """What ``json`` and plain ``if`` make of a line; ``None`` where it is to be rejected."""

    try:
        row = json.loads(raw.decode("utf-8").removeprefix("\ufeff"))
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    for name in ("reviewerID", "asin"):
        value = row.get(name)
        if not isinstance(value, str) or any("\ud800" <= c <= "\udfff" for c in value):
            return None
        if not value.strip() or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value):
            return None
    overall, time, verified = row.get("overall"), row.get("unixReviewTime"), row.get("verified")
    if type(overall) not in (int, float) or not 1 <= overall <= 5:
        return None
    if type(time) not in (int, float) or not math.isfinite(time) or time != int(time) or not 0 < time < 4_102_444_800:
        return None
    invalid = [] if verified is None or isinstance(verified, bool) else ["verified"]
    return row["reviewerID"], row["asin"], float(overall), int(time), None if invalid else verified, invalid


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["", " ", "A-1", "a b", "\0", "\x85", "Ünï", "5.0", "1393372800"]),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=2), children, max_size=2),
    max_leaves=3,
)
sound_rows = st.fixed_dictionaries(
    {
        "overall": st.sampled_from([1.0, 2.0, 3, 4, 5.0]),
        "reviewerID": st.sampled_from(["A1", "A2", "A-3", "Ä4"]),
        "asin": st.sampled_from(["B1", "B2", "0001"]),
        "unixReviewTime": st.integers(1, 4_102_444_799) | st.just(1393372800.0),
    },
    optional={"verified": st.booleans() | st.none(), "reviewText": st.text(max_size=30)},
)
changes = st.dictionaries(
    st.sampled_from(["overall", "reviewerID", "asin", "unixReviewTime", "verified", "other"]), anything, max_size=2
)
changed_rows = st.builds(lambda row, change: {**row, **change}, sound_rows, changes)
encoded = st.builds(
    lambda row, ascii_only: json.dumps(row, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"),
    sound_rows | changed_rows,
    st.booleans(),
)


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    raw = draw(encoded)
    kind = draw(st.sampled_from(["none", "none", "cut", "bytes", "blank", "repeated key", "padded", "noise"]))
    place = draw(st.integers(0, len(raw)))
    if kind == "cut":
        raw = raw[:place]
    elif kind == "bytes":
        junk = draw(st.sampled_from([b"\0", b"\xff", b"\xed\xa0\x80", b"NaN", b"1e999", b"\\ud800", b"\x1f", b"{"]))
        raw = raw[:place] + junk + raw[place + draw(st.integers(0, 3)) :]
    elif kind == "blank":
        raw = draw(st.sampled_from([b"", b" ", b"\t ", b"\x0b"]))
    elif kind == "repeated key":
        raw = raw[:-1] + b', "asin": ' + draw(st.sampled_from([b'"B9"', b"7", b"null"])) + b"}"
    elif kind == "padded":
        raw = b" " + raw + draw(st.sampled_from([b" ", b"\r", b"\t\r", b","]))
    elif kind == "noise":
        # hypothesis tries constants of the code too, and what begins as another format is refused as a whole
        others = tuple(text_stream._OTHER_FORMATS)
        raw = draw(st.binary(max_size=20).filter(lambda noise: not noise.replace(b"\n", b"").startswith(others)))
    return raw.replace(b"\n", b"")


@st.composite
def dumps(draw: st.DrawFn) -> tuple[list[bytes], list[bytes], bytes]:
    """Lines, their endings, and the gzip stream of one to three members that holds them."""
    content = draw(st.lists(damaged_lines(), min_size=1, max_size=12))
    endings = [draw(st.sampled_from([b"\n", b"\n", b"\r\n"])) for _ in content]
    if content[-1] and draw(st.booleans()):
        endings[-1] = b""
    data = b"".join(raw + ending for raw, ending in zip(content, endings, strict=True))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=2)))
    parts = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return content, endings, b"".join(gzip.compress(part, compresslevel=1, mtime=0) for part in parts)


@settings(max_examples=60, deadline=None)
@given(dump=dumps(), chunk=st.sampled_from([5, 64, 4096]), batch=st.sampled_from([1, 3, 1 << 16]))
def test_every_line_is_a_row_or_a_reject_as_a_naive_reading_says(dump, chunk, batch):
    content, endings, compressed = dump
    # what stands before a line feed is its line, less one carriage return
    expected_lines = [
        raw.removesuffix(b"\r") if ending == b"\n" else raw for raw, ending in zip(content, endings, strict=True)
    ]
    offsets = [0]
    for raw, ending in zip(content, endings, strict=True):
        offsets.append(offsets[-1] + len(raw) + len(ending))
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(lines, "CHUNK_BYTES", chunk),
        patch.object(landing_lines, "ROWS_PER_BATCH", batch),
        patch.object(versions, "flush"),
    ):
        dump_file = Path(folder) / "Some.json.gz"
        dump_file.write_bytes(compressed)
        if not any(raw.strip() for raw in expected_lines):
            with pytest.raises(LandingError, match="holds no row"):
                land_reviews([dump_file], Path(folder) / "landed")
            return
        landed = land_reviews([dump_file], Path(folder) / "landed")
        rows, rejects = (pq.read_table(Path(folder) / "landed" / part).to_pylist() for part in ("rows", "rejects"))
        [file] = pq.read_table(Path(folder) / "landed" / "files.parquet").to_pylist()

    expected = {n: naive_review(raw) for n, raw in enumerate(expected_lines, 1) if raw.strip()}
    assert file["lines_read"] == landed.lines_read == len(content)
    assert file["rows_kept"] + file["rows_rejected"] == file["rows_read"] == len(expected)
    assert (len(rows), len(rejects)) == (file["rows_kept"], file["rows_rejected"])
    assert [row["line_number"] for row in rows] == [n for n, kept in expected.items() if kept]
    assert [reject["line_number"] for reject in rejects] == [n for n, kept in expected.items() if not kept]
    for row in rows:
        raw = expected_lines[row["line_number"] - 1]
        assert row["line_digest"] == xxh3_64_intdigest(raw)
        assert tuple(row[name] for name in FIELDS) == expected[row["line_number"]]
    for reject in rejects:
        assert reject["line"] == expected_lines[reject["line_number"] - 1]
        assert reject["byte_offset"] == offsets[reject["line_number"] - 1]
        assert reject["reason"] in REVIEW_REASONS
    assert sum(landed.rejects_by_reason.values()) == len(rejects)


@settings(max_examples=120, deadline=None)
@given(raw=st.lists(damaged_lines(), min_size=1, max_size=4))
def test_the_short_test_of_reviews_agrees_with_the_careful_one(raw):
    columns = {name: [] for name in FIELDS}
    rejected = ReviewLines().add(raw, columns).rejected
    careful = [read_review(one) for one in raw]
    assert rejected == [(place, one) for place, one in enumerate(careful) if isinstance(one, Reject)]
    kept = list(zip(*columns.values(), strict=True))
    assert kept == [tuple(one) for one in careful if not isinstance(one, Reject)]


def test_a_carriage_return_is_of_the_line_ending_only_before_a_line_feed(tmp_path):
    dump = tmp_path / "Some.json.gz"
    dump.write_bytes(gzip.compress(b"\r\n\r\r\n a\rb\r\n\rc\r"))
    landed = land_reviews([dump], tmp_path / "landed")
    rejects = pq.read_table(tmp_path / "landed" / "rejects").to_pylist()
    assert landed.lines_read == 4  # two of them blank
    assert [reject["line"] for reject in rejects] == [b" a\rb", b"\rc\r"]
    assert [reject["byte_offset"] for reject in rejects] == [5, 11]


# --- two thousand dumps, each damaged in some way of a list ---------------------------------------------------

LONGEST, KEPT = 600, 40
DUMPS = 2000
CASES = 10
# each of these damages one line
LINE_DAMAGES = {
    "malformed JSON": lambda r, raw: raw[: r.randrange(1, len(raw))],
    "wrong type": lambda r, raw: raw.replace(
        *r.choice([(b"4.0", b'"4.0"'), (b'"A1"', b"7"), (b"1393372800", b"true")])
    ),
    "wrong optional type": lambda r, raw: raw.replace(b"true", r.choice([b'"yes"', b"1", b"[]"])),
    "invalid UTF-8": lambda r, raw: raw.replace(b"good", r.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88"])),
    "NUL byte": lambda r, raw: raw.replace(b"good", b"go\0d") if r.random() < 0.5 else bytes(r.randrange(1, 9)),
    "escaped NUL": lambda r, raw: raw.replace(b"A1", b"A\\u00001"),
    "control byte": lambda r, raw: raw.replace(b"good", bytes([r.choice([1, 9, 11, 12, 13, 27, 31, 127])])),
    "long line": lambda r, raw: raw.replace(b"good", b"g" * r.randrange(LONGEST - 200, LONGEST + 3000)),
    "duplicate key": lambda r, raw: raw[:-1] + b', "asin": ' + r.choice([b'"B9"', b"7", b"null", b'""']) + b"}",
    "not a number": lambda r, raw: raw.replace(b"4.0", r.choice([b"NaN", b"Infinity", b"-Infinity"])),
    "number out of range": lambda r, raw: raw.replace(
        *r.choice([(b"4.0", b"1e999"), (b"4.0", b"5.5"), (b"1393372800", b"9" * 30), (b"1393372800", b"-1")])
    ),
    "missing key": lambda r, raw: raw.replace(*r.choice([(b'"asin"', b'"isbn"'), (b'"overall"', b'"Overall"')])),
    "lone surrogate": lambda r, raw: raw.replace(b"good", b"\\ud800"),
    "not an object": lambda r, raw: r.choice([b"[%b]" % raw, b"17", b"null", b'"text"']),
    "blank line": lambda r, raw: r.choice([b"", b" ", b"\t\t"]),
    "byte order mark": lambda r, raw: b"\xef\xbb\xbf" + raw,
}
# and each of these a whole file; "bad block" and "cut short" break its stream off
FILE_DAMAGES = (
    "none",
    "CRLF",
    "no last newline",
    "several members",
    "padding",
    "plain",
    "cut short",
    "cut in the last bytes",
    "bad checksum",
    "bad block",
    "garbage behind",
)


@dataclass
class Dump:
    """A file, what its text is as far as it can be read, and whether it breaks off there."""

    data: bytes
    text: bytes
    broken: bool
    damages: list[str]


def damaged_dump(r: random.Random) -> Dump:
    content, damages = [], []
    for number in range(r.randrange(2, 9)):
        raw = json.dumps(
            {
                "overall": 4.0,
                "verified": True,
                "reviewerID": "A1",
                "asin": f"B{number}",
                "reviewText": "good" + "x" * r.randrange(20),
                "unixReviewTime": 1393372800,
            }
        ).encode()
        # a plain file has to begin like text to be taken for it
        if number and r.random() < 0.5:
            damages.append(r.choice(list(LINE_DAMAGES)))
            raw = LINE_DAMAGES[damages[-1]](r, raw)
        content.append(raw)
    damage = r.choice(FILE_DAMAGES)
    damages.append(damage)
    ending = b"\r\n" if damage == "CRLF" else b"\n"
    text = b"".join(raw + (ending if r.random() < 0.9 else b"\n") for raw in content)
    if damage == "no last newline" or r.random() < 0.1:
        text = text.rstrip(b"\r\n")
    if damage == "plain":
        return Dump(text, text, False, damages)
    if damage == "several members":
        cuts = sorted(r.randrange(len(text) + 1) for _ in range(r.randrange(1, 4)))
        parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        return Dump(b"".join(gzip.compress(part) for part in parts), text, False, damages)
    data = gzip.compress(text, compresslevel=r.choice([0, 1, 6, 9]))
    if damage == "padding":
        return Dump(data + bytes(r.randrange(1, 600)), text, False, damages)
    if damage == "cut short":
        first = gzip.compress(text) if r.random() < 0.3 else b""
        data = data[: r.randrange(12, len(data) - 8)]
        readable = (text if first else b"") + inflated_byte_by_byte(data)
        # a file of which nothing can be read is not landed at all
        return Dump(first + data, readable, True, damages) if readable else Dump(gzip.compress(text), text, False, [])
    if damage == "cut in the last bytes":
        return Dump(data[: -r.randrange(1, 9)], text, True, damages)
    if damage == "bad checksum":
        return Dump(data[:-8] + struct.pack("<I", zlib.crc32(text) ^ 1) + data[-4:], text, True, damages)
    if damage == "garbage behind":
        return Dump(data + r.choice([b"garbage", b"\0\0x", b"\x1fx"]), text, True, damages)
    if damage == "bad block":
        place = r.randrange(1, len(text))
        packer = zlib.compressobj(wbits=31)
        # a full flush ends on a whole byte; a block of type 3, which is none, follows
        data = packer.compress(text[:place]) + packer.flush(zlib.Z_FULL_FLUSH) + b"\xff" + data
        return Dump(data, text[:place], True, damages)
    return Dump(data, text, False, damages)


def inflated_byte_by_byte(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    return b"".join(unpacker.decompress(bytes([byte])) for byte in data)


@dataclass
class Line:
    """A line as it should be found; ``bytes`` without its ending."""

    offset: int
    bytes: bytes
    long: bool
    cut: bool


def expected_lines(dump: Dump) -> list[Line]:
    found = []
    place = 0
    while place < len(dump.text):
        end = dump.text.find(b"\n", place)
        if end < 0:
            raw = dump.text[place:]
            found.append(Line(place, raw, len(raw) > LONGEST, dump.broken))
            break
        raw = dump.text[place:end]
        found.append(Line(place, raw[:-1] if raw[-1:] == b"\r" else raw, len(raw) + 1 > LONGEST, False))
        place = end + 1
    return found


class Collected:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.batches: dict[str, list[pa.RecordBatch]] = {"rows": [], "rejects": []}

    def rows(self, batch: pa.RecordBatch) -> None:
        self.batches["rows"].append(batch)

    def rejects(self, batch: pa.RecordBatch) -> None:
        self.batches["rejects"].append(batch)

    def all(self, part: str) -> list[dict]:
        return [row for batch in self.batches[part] for row in batch.to_pylist()]


def read(path: Path) -> tuple[FileCounts, list[dict], list[dict]]:
    sink = Collected()
    [counts] = read_lines((SourceFile(path, path.name),), sink, ReviewLines, INTERACTIONS_SCHEMA)
    return counts, sink.all("rows"), sink.all("rejects")


def is_blank(line: Line) -> bool:
    return not (line.cut or line.long or line.bytes.strip())


def check_against_the_oracle(path: Path, dump: Dump) -> None:
    path.write_bytes(dump.data)
    counts, rows, rejects = read(path)
    expected = expected_lines(dump)
    expected_rows, expected_rejects = [], []
    for number, one in enumerate(expected, 1):
        if is_blank(one):
            continue
        values = None if one.cut or one.long else naive_review(one.bytes)
        if values is None:
            expected_rejects.append((number, one.offset, one.bytes[:KEPT] if one.long else one.bytes))
        else:
            origin = (path.name, number, xxh3_64_intdigest(one.bytes))
            expected_rows.append((*origin, *values[:4], 0, values[4], 0, None, values[5]))
    assert [tuple(row.values()) for row in rows] == expected_rows
    assert [(one["line_number"], one["byte_offset"], one["line"]) for one in rejects] == expected_rejects
    assert counts.lines_read == len(expected)
    assert counts.rows_read == len(expected) - sum(map(is_blank, expected))
    assert (counts.rows_kept, counts.rows_rejected) == (len(rows), len(rejects))
    assert counts.rows_read == counts.rows_kept + counts.rows_rejected
    assert counts.bytes == len(dump.data)
    for reject in rejects:
        one = expected[reject["line_number"] - 1]
        assert reject["reason"] in REVIEW_REASONS
        assert (reject["reason"] == "cut short") == one.cut
        if not one.cut:
            assert (reject["reason"] == "line too long") == one.long
    assert (counts.problem is not None) == dump.broken
    if dump.broken:
        inside = not dump.text.endswith(b"\n")
        place = f"{'inside' if inside else 'behind'} line {len(expected)}, after {len(dump.text):,} bytes of text"
        assert counts.problem.startswith(path.name)
        assert place in counts.problem


@pytest.mark.parametrize("case", others_slow(range(CASES), 0, 3, 9))
def test_damaged_dumps_are_read_as_the_oracle_says(tmp_path, case):
    for seed in range(case, DUMPS, CASES):
        r = random.Random(seed)
        dump = damaged_dump(r)
        with (
            patch.object(lines, "CHUNK_BYTES", r.choice([7, 64, 500])),
            patch.object(lines, "LONGEST_LINE_BYTES", LONGEST),
            patch.object(lines, "KEPT_OF_LONG_LINE_BYTES", KEPT),
            patch.object(landing_lines, "ROWS_PER_BATCH", r.choice([1, 3, 1 << 16])),
        ):
            try:
                check_against_the_oracle(tmp_path / "Some.json.gz", dump)
            except BaseException as error:
                error.add_note(f"seed {seed}: {dump.damages}")
                raise


def test_the_damaged_dumps_have_every_damage_often():
    seen = Counter(damage for seed in range(DUMPS) for damage in damaged_dump(random.Random(seed)).damages)
    assert set(seen) == {*LINE_DAMAGES, *FILE_DAMAGES}
    assert min(seen.values()) >= 100
