"""Landing: every line of a dump is a row or a reject, and nothing is written by halves."""

import gzip
import json
import math
import os
import tempfile
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from ml.data import files, landing, lines
from ml.data.content_digest import parquet_digest
from ml.data.landing import (
    LandingError,
    content_digest,
    datasets_in,
    find_dumps,
    land_metadata,
    land_reviews,
)
from ml.data.records import METADATA_REASONS, REVIEW_REASONS, Reject, read_metadata, read_review

REVIEW = {"overall": 4.0, "verified": True, "reviewerID": "A1", "asin": "B1", "unixReviewTime": 1393372800}
ITEM = {
    "category": ["Demo", "Tools"],
    "title": "A saw",
    "brand": "Norvalle",
    "price": "$1.00",
    "asin": "B1",
    "imageURL": ["low.jpg"],
    "imageURLHighRes": ["high.jpg"],
    "main_cat": "Tools",
}


def review(**changes: object) -> dict:
    return {**REVIEW, **changes}


def line(row: object) -> bytes:
    return json.dumps(row).encode()


def write_gzip(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data, compresslevel=1))
    return path


def table(folder: Path, name: str) -> list[dict]:
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


# --- against a naive reading, on damaged dumps ---------------------------------------------------------------


class NotStrict(ValueError):
    pass


def naive_review(raw: bytes) -> tuple | None:
    """What ``json`` and plain ``if`` make of a line; ``None`` where it is to be rejected."""

    def refuse(text: str) -> None:
        raise NotStrict(text)

    def finite(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else refuse(text)

    try:
        row = json.loads(raw.decode("utf-8"), parse_constant=refuse, parse_float=finite)
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    for name in ("reviewerID", "asin"):
        value = row.get(name)
        if not isinstance(value, str) or not value.strip() or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value):
            return None
    overall, time, verified = row.get("overall"), row.get("unixReviewTime"), row.get("verified")
    if type(overall) not in (int, float) or not 1 <= overall <= 5:
        return None
    if type(time) not in (int, float) or time != int(time) or not 0 < time < 4_102_444_800:
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
        raw = draw(st.binary(max_size=20))
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


@settings(max_examples=150, deadline=None)
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
        patch.object(landing, "ROWS_PER_BATCH", batch),
        patch.object(files, "_flush"),
    ):
        dump_file = Path(folder) / "Some.json.gz"
        dump_file.write_bytes(compressed)
        landed = land_reviews([dump_file], Path(folder) / "landed")
        rows = table(Path(folder) / "landed", "rows")
        rejects = table(Path(folder) / "landed", "rejects")
        [file] = table(Path(folder) / "landed", "files")

    expected = {n: naive_review(raw) for n, raw in enumerate(expected_lines, 1)}
    assert file["lines_read"] == landed.lines_read == len(content)
    assert file["rows_kept"] + file["rows_rejected"] == file["lines_read"]
    assert (len(rows), len(rejects)) == (file["rows_kept"], file["rows_rejected"])
    assert [row["line_number"] for row in rows] == [n for n, kept in expected.items() if kept]
    assert [reject["line_number"] for reject in rejects] == [n for n, kept in expected.items() if not kept]
    for row in rows:
        raw = expected_lines[row["line_number"] - 1]
        assert row["line_digest"] == xxh3_64_intdigest(raw)
        fields = ("reviewer_id", "asin", "overall", "unix_review_time", "verified", "invalid_fields")
        assert tuple(row[name] for name in fields) == expected[row["line_number"]]
    for reject in rejects:
        assert reject["line"] == expected_lines[reject["line_number"] - 1]
        assert reject["byte_offset"] == offsets[reject["line_number"] - 1]
        assert reject["reason"] in REVIEW_REASONS
    assert sum(landed.rejects_by_reason.values()) == len(rejects)


@settings(max_examples=150, deadline=None)
@given(raw=st.lists(damaged_lines(), min_size=1, max_size=4))
def test_the_short_test_of_reviews_agrees_with_the_careful_one(raw):
    columns = {name: [] for name in landing.Review._fields}
    rejected = landing._add_reviews(raw, columns)
    careful = [read_review(one) for one in raw]
    assert rejected == [(place, one) for place, one in enumerate(careful) if isinstance(one, Reject)]
    kept = list(zip(*columns.values(), strict=True))
    assert kept == [tuple(one) for one in careful if not isinstance(one, Reject)]


def test_a_carriage_return_is_of_the_line_ending_only_before_a_line_feed(tmp_path):
    dump = write_gzip(tmp_path / "Some.json.gz", b"\r\n\r\r\n a\rb\r\n\rc\r")
    land_reviews([dump], tmp_path / "landed")
    rejects = table(tmp_path / "landed", "rejects")
    assert [reject["line"] for reject in rejects] == [b"", b"\r", b" a\rb", b"\rc\r"]
    assert [reject["byte_offset"] for reject in rejects] == [0, 2, 5, 11]


# --- reasons -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "reason", "detail"),
    [
        (b"", "blank line", ""),
        (b" \t", "blank line", "2 bytes"),
        (b'{"asin": "B\xff"}', "invalid UTF-8", "byte 11"),
        (line(REVIEW)[:-9], "malformed JSON", ""),
        (b"\xef\xbb\xbf" + line(REVIEW), "malformed JSON", "byte order mark"),
        (line(REVIEW).replace(b"4.0", b"NaN"), "malformed JSON", ""),
        (line(REVIEW).replace(b"4.0", b"1e999"), "malformed JSON", "infinity"),
        (line([REVIEW]), "not an object", "array"),
        (b"17", "not an object", "number"),
        (b"null", "not an object", "null"),
        (line({}), "reviewerID missing", "no such key"),
        (line(review(reviewerID=None)), "reviewerID missing", "null"),
        (line(review(reviewerID=" ")), "reviewerID missing", '" "'),
        (line(review(reviewerID=["A1"])), "reviewerID not a string", '["A1"]'),
        (line(review(reviewerID="A\x00")), "reviewerID with control characters", "\\u0000"),
        (line(review(asin="")), "asin missing", '""'),
        (line(review(asin=316769487)), "asin not a string", "316769487"),
        (line(review(asin="B\n1")), "asin with control characters", "\\n"),
        (line(review(overall=None)), "overall missing", "null"),
        (line(review(overall="5.0")), "overall not a number", '"5.0"'),
        (line(review(overall=True)), "overall not a number", "true"),
        (line(review(overall=0)), "overall out of range", "0"),
        (line(review(overall=5.0001)), "overall out of range", "5.0001"),
        (line({**REVIEW, "unixReviewTime": None}), "unixReviewTime missing", "null"),
        (line(review(unixReviewTime="1393372800")), "unixReviewTime not an integer", '"1393372800"'),
        (line(review(unixReviewTime=True)), "unixReviewTime not an integer", "true"),
        (line(review(unixReviewTime=1.5)), "unixReviewTime not an integer", "1.5"),
        (line(review(unixReviewTime=0)), "unixReviewTime out of range", "0"),
        (line(review(unixReviewTime=4_102_444_800)), "unixReviewTime out of range", "4102444800"),
        (line(review(unixReviewTime=10**30)), "unixReviewTime out of range", "1e+30"),
    ],
)
def test_reasons_for_rejecting_a_review(raw, reason, detail):
    rejected = read_review(raw)
    assert isinstance(rejected, Reject)
    assert rejected.reason == reason
    assert reason in REVIEW_REASONS
    assert detail in rejected.detail


def test_reviews_that_look_odd_and_are_kept():
    assert read_review(line(review(overall=3)))[2:4] == (3.0, 1393372800)
    assert read_review(line(review(unixReviewTime=1393372800.0))).unix_review_time == 1393372800
    assert read_review(line(review(reviewerID="A-1 x"))).reviewer_id == "A-1 x"
    assert read_review(line(review(verified="yes")))[4:] == (None, ("verified",))
    del (without := dict(REVIEW))["verified"]
    assert read_review(line(without))[4:] == (None, ())
    assert read_review(line(REVIEW)[:-1] + b', "asin": "B2"}').asin == "B2"


def test_details_are_short():
    rejected = read_review(line(review(overall="5" * 10_000)))
    assert len(rejected.detail) == 80
    assert rejected.detail.endswith("…")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "blank line"),
        (b"\xff", "invalid UTF-8"),
        (b"{", "malformed JSON"),
        (b"[]", "not an object"),
        (line({"title": "x"}), "asin missing"),
        (line({"asin": 5}), "asin not a string"),
        (line({"asin": "B\t"}), "asin with control characters"),
    ],
)
def test_reasons_for_rejecting_metadata(raw, reason):
    rejected = read_metadata(raw)
    assert isinstance(rejected, Reject)
    assert rejected.reason == reason
    assert reason in METADATA_REASONS


@pytest.mark.parametrize(
    ("changes", "field", "value", "invalid"),
    [
        ({}, "image_url", "high.jpg", ()),
        ({"imageURLHighRes": []}, "image_url", "low.jpg", ()),
        ({"imageURLHighRes": ["", "second.jpg"]}, "image_url", "second.jpg", ()),
        ({"imageURLHighRes": "one.jpg"}, "image_url", "one.jpg", ()),
        ({"imageURLHighRes": None, "imageURL": None, "image": ["old.jpg"]}, "image_url", "old.jpg", ()),
        ({"imageURLHighRes": [1]}, "image_url", "low.jpg", ("imageURLHighRes",)),
        ({"price": ""}, "price", "", ()),
        ({"price": "$1.00 - $2.00"}, "price", "$1.00 - $2.00", ()),
        ({"price": 3.17}, "price", "3.17", ()),
        ({"price": True}, "price", None, ("price",)),
        ({"title": ["x"]}, "title", None, ("title",)),
        ({"title": " A &amp; B "}, "title", " A &amp; B ", ()),
        ({"brand": 7, "main_cat": {}}, "main_cat", None, ("brand", "main_cat")),
        ({"category": []}, "category", [], ()),
        ({"category": "Tools"}, "category", None, ("category",)),
        ({"category": ["Tools", None]}, "category", None, ("category",)),
        ({"category": None}, "category", None, ()),
    ],
)
def test_fields_of_metadata(changes, field, value, invalid):
    item = read_metadata(line({**ITEM, **changes}))
    assert getattr(item, field) == value
    assert item.invalid_fields == invalid


# --- tables --------------------------------------------------------------------------------------------------


def test_tables_of_metadata(tmp_path):
    bare = {"asin": "B2"}
    dump = write_gzip(tmp_path / "meta_Some.json.gz", line(ITEM) + b"\nnonsense\n" + line(bare) + b"\n")
    landed = land_metadata([dump], tmp_path / "landed")
    origin = {"source_file": dump.name}
    empty = dict.fromkeys(["title", "brand", "main_cat", "price", "category", "image_url"])
    assert table(tmp_path / "landed", "rows") == [
        {
            **origin,
            "line_number": 1,
            "line_digest": xxh3_64_intdigest(line(ITEM)),
            "asin": "B1",
            "title": "A saw",
            "brand": "Norvalle",
            "main_cat": "Tools",
            "price": "$1.00",
            "category": ["Demo", "Tools"],
            "image_url": "high.jpg",
            "invalid_fields": [],
        },
        {
            **origin,
            "line_number": 3,
            "line_digest": xxh3_64_intdigest(line(bare)),
            "asin": "B2",
            **empty,
            "invalid_fields": [],
        },
    ]
    [reject] = table(tmp_path / "landed", "rejects")
    assert (reject["line_number"], reject["byte_offset"], reject["line"]) == (2, len(line(ITEM)) + 1, b"nonsense")
    assert landed.rejects_by_reason == {"malformed JSON": 1}


def test_no_metadata_gives_empty_tables_of_the_same_schema(tmp_path):
    dump = write_gzip(tmp_path / "meta_Some.json.gz", line(ITEM))
    land_metadata([dump], tmp_path / "some")
    landed = land_metadata([], tmp_path / "none")
    assert (landed.files, landed.lines_read, landed.rejects_by_reason) == ((), 0, {})
    for name in ("rows", "rejects", "files"):
        some, none = (pq.read_schema(tmp_path / folder / f"{name}.parquet") for folder in ("some", "none"))
        assert none.equals(some)
        assert table(tmp_path / "none", name) == []


def test_files_are_landed_in_the_order_of_their_names(tmp_path):
    one = write_gzip(tmp_path / "One.json.gz", line(review(asin="B1")) + b"\n" + line(review(asin="B2")))
    two = write_gzip(tmp_path / "Two.json.gz", b"{}\n" + line(review(asin="B3")))
    with patch.object(lines, "CHUNK_BYTES", 64), patch.object(landing, "BYTES_PER_BATCH", 1):
        landed = land_reviews([two, one], tmp_path / "landed")
    assert pq.ParquetFile(tmp_path / "landed" / "rows.parquet").num_row_groups == 3
    rows = table(tmp_path / "landed", "rows")
    assert [(row["source_file"], row["line_number"], row["asin"]) for row in rows] == [
        ("One.json.gz", 1, "B1"),
        ("One.json.gz", 2, "B2"),
        ("Two.json.gz", 2, "B3"),
    ]
    assert [(file.source_file, file.lines_read, file.rows_kept, file.rows_rejected) for file in landed.files] == [
        ("One.json.gz", 2, 2, 0),
        ("Two.json.gz", 2, 1, 1),
    ]
    [first, _] = table(tmp_path / "landed", "files")
    assert first["bytes"] == one.stat().st_size
    assert first["sha256"] == landed.files[0].sha256


@pytest.mark.parametrize("chunk", [7, 16, 50, 1000])
def test_a_line_too_long_to_hold_is_rejected_with_its_start(tmp_path, chunk):
    long, longest = b"x" * 5000, line(REVIEW).ljust(200)
    data = longest + b"\n" + long + b"\r\n" + line(REVIEW) + b"\n" + long
    dump = write_gzip(tmp_path / "Some.json.gz", data)
    with (
        patch.object(lines, "CHUNK_BYTES", chunk),
        patch.object(lines, "LONGEST_LINE_BYTES", 2000),
        patch.object(lines, "KEPT_OF_LONG_LINE_BYTES", 10),
    ):
        land_reviews([dump], tmp_path / "landed")
    assert [row["line_number"] for row in table(tmp_path / "landed", "rows")] == [1, 3]
    rejects = table(tmp_path / "landed", "rejects")
    assert [(r["line_number"], r["byte_offset"], r["reason"], r["line"]) for r in rejects] == [
        (2, 201, "line too long", b"x" * 10),
        (4, 201 + 5002 + len(line(REVIEW)) + 1, "line too long", b"x" * 10),
    ]
    assert rejects[0]["detail"] == "5,000 bytes; the first 10 are kept"


# --- bad input -----------------------------------------------------------------------------------------------

COMPRESSED = gzip.compress(b"\n".join(line(review(asin=f"B{n}")) for n in range(2000)), mtime=0)
BAD_FILES = {
    "empty": (b"", "is empty"),
    "nothing compressed": (gzip.compress(b""), "holds no line"),
    "cut in the data": (COMPRESSED[:3000], "is cut short"),
    "cut in the end mark": (COMPRESSED[:-3], "is cut short"),
    "cut in the header": (COMPRESSED[:7], "is cut short"),
    "one byte": (b"\x1f", "is cut short"),
    "plain text": (line(REVIEW), "is not a gzip file"),
    "a web page": (b"<!DOCTYPE html><html>", "is not a gzip file"),
    "a wrong checksum": (COMPRESSED[:-8] + b"\0\0\0\0" + COMPRESSED[-4:], "is damaged"),
    "overwritten": (COMPRESSED[:2000] + bytes(500) + COMPRESSED[2500:], "is (damaged|cut short)"),
}


@pytest.mark.parametrize("land", [land_reviews, land_metadata])
@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_bad_file_is_named_and_leaves_everything_as_it_was(tmp_path, land, bad):
    data, message = BAD_FILES[bad]
    good = write_gzip(tmp_path / "A_good.json.gz", line({**REVIEW, **ITEM}))
    (tmp_path / "Bad.json.gz").write_bytes(data)
    land([good], tmp_path / "lake" / "landed")
    before = content_digest(tmp_path / "lake" / "landed")
    for folder in ("landed", "other"):
        with pytest.raises(LandingError, match=message) as error:
            land([good, tmp_path / "Bad.json.gz"], tmp_path / "lake" / folder)
        assert "Bad.json.gz" in str(error.value)
        assert "download it again" in str(error.value)
    assert content_digest(tmp_path / "lake" / "landed") == before
    assert os.listdir(tmp_path / "lake") == ["landed"]
    assert sorted(os.listdir(tmp_path / "lake" / "landed")) == ["files.parquet", "rejects.parquet", "rows.parquet"]


def test_files_that_are_not_there_or_share_a_name(tmp_path):
    (tmp_path / "other").mkdir()
    one, other = (write_gzip(folder / "Some.json.gz", line(REVIEW)) for folder in (tmp_path, tmp_path / "other"))
    with pytest.raises(LandingError, match=r"Missing\.json\.gz does not exist"):
        land_reviews([tmp_path / "Missing.json.gz"], tmp_path / "landed")
    with pytest.raises(LandingError, match="cannot be read: Is a directory"):
        land_reviews([tmp_path / "other"], tmp_path / "landed")
    with pytest.raises(LandingError, match="have the same name"):
        land_reviews([one, other], tmp_path / "landed")
    with pytest.raises(LandingError, match="no file of reviews"):
        land_reviews([], tmp_path / "landed")
    assert not (tmp_path / "landed").exists()


def test_zeros_after_the_last_member_are_padding(tmp_path):
    dump = tmp_path / "Some.json.gz"
    dump.write_bytes(gzip.compress(line(REVIEW)) + bytes(512))
    assert land_reviews([dump], tmp_path / "landed").rows_kept == 1


# --- finding -------------------------------------------------------------------------------------------------


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


def test_dumps_of_either_name_are_found(tmp_path):
    touch(tmp_path, "All.json.gz", "meta_All.json.gz", "Core_5.json.gz", "meta_Alone.json.gz", ".x.json.gz")
    touch(tmp_path, "odd name.json.gz", "notes.txt", "Unfinished.json.gz.part")
    assert datasets_in(tmp_path) == ["All", "Core"]
    found = find_dumps(tmp_path, "All")
    assert found.reviews == (tmp_path / "All.json.gz",)
    assert found.metadata == (tmp_path / "meta_All.json.gz",)
    found = find_dumps(tmp_path, "Core")
    assert found.reviews == (tmp_path / "Core_5.json.gz",)
    assert found.metadata == ()
    assert datasets_in(tmp_path / "absent") == []


def test_dumps_that_are_not_found_say_what_was_looked_for(tmp_path):
    touch(tmp_path, "Other.json.gz", "meta_Some.json.gz")
    with pytest.raises(LandingError) as error:
        find_dumps(tmp_path, "Some")
    for part in (str(tmp_path), "Some.json.gz", "Some_5.json.gz", "put one of them there", "Other"):
        assert part in str(error.value)
    touch(tmp_path, "Some_5.json")
    with pytest.raises(LandingError, match=r"Some_5\.json is there, but not compressed: run gzip"):
        find_dumps(tmp_path, "Some")
    with pytest.raises(LandingError, match="is not a folder"):
        find_dumps(tmp_path / "absent", "Some")
    for name in ("../Some", "", "meta_Some", "So me", ".Some"):
        with pytest.raises(LandingError, match="cannot be the name of a dataset"):
            find_dumps(tmp_path, name)


def test_two_files_of_reviews_are_ambiguous(tmp_path):
    touch(tmp_path, "Some.json.gz", "Some_5.json.gz")
    assert datasets_in(tmp_path) == ["Some"]
    with pytest.raises(LandingError, match=r"holds both Some\.json\.gz and Some_5\.json\.gz.*take Some_5"):
        find_dumps(tmp_path, "Some")


# --- digests -------------------------------------------------------------------------------------------------


def test_the_content_digest_is_of_the_lines_alone(tmp_path):
    data = b"\n".join([line(review(asin=f"B{n}")) for n in range(50)] + [b"nonsense"])
    digests = []
    for place, (level, batch) in enumerate([(1, 1 << 16), (9, 7)]):
        (tmp_path / str(place)).mkdir()
        dump = tmp_path / str(place) / "Some.json.gz"
        dump.write_bytes(gzip.compress(data, level))
        with patch.object(landing, "ROWS_PER_BATCH", batch):
            land_reviews([dump], tmp_path / "landed")
        digests.append(content_digest(tmp_path / "landed"))
    assert digests[0] == digests[1]
    for changed in (data.replace(b"B7", b"B8"), data.replace(b"nonsense", b"nonsens"), b"\n" + data):
        land_reviews([write_gzip(tmp_path / "Some.json.gz", changed)], tmp_path / "landed")
        digests.append(content_digest(tmp_path / "landed"))
    land_reviews([write_gzip(tmp_path / "Renamed.json.gz", data)], tmp_path / "landed")
    digests.append(content_digest(tmp_path / "landed"))
    assert len(set(digests)) == 5


values = st.fixed_dictionaries(
    {
        "number": st.none() | st.integers(-5, 5),
        "real": st.none() | st.sampled_from([0.0, 0.5, 1.0]),
        "flag": st.none() | st.booleans(),
        "text": st.none() | st.sampled_from(["", "a", "ab", "b"]),
        "raw": st.none() | st.sampled_from([b"", b"\0", b"ab"]),
        "list": st.none() | st.lists(st.none() | st.sampled_from(["", "a", "ab"]), max_size=2),
    }
)
SCHEMA = pa.schema(
    {
        "number": pa.int64(),
        "real": pa.float64(),
        "flag": pa.bool_(),
        "text": pa.string(),
        "raw": pa.binary(),
        "list": pa.list_(pa.string()),
    }
)


@settings(max_examples=150, deadline=None)
@given(one=st.lists(values, max_size=6), other=st.lists(values, max_size=6), cut=st.integers(1, 4))
def test_parquet_digests_are_equal_where_the_values_are(one, other, cut):
    with tempfile.TemporaryDirectory() as folder:

        def digest(rows: list[dict], **options: object) -> str:
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA), Path(folder) / "table.parquet", **options)
            with patch("ml.data.content_digest.ROWS_PER_BATCH", options.get("row_group_size", 1000)):
                return parquet_digest(Path(folder) / "table.parquet")

        assert digest(one) == digest(one, row_group_size=cut, compression="zstd", use_dictionary=False)
        assert (digest(one) == digest(other)) == (one == other)


def test_parquet_digests_know_names_and_types(tmp_path):
    digests = set()
    for name, kind in [("a", pa.int64()), ("b", pa.int64()), ("a", pa.int32()), ("a", pa.timestamp("us"))]:
        pq.write_table(pa.table({name: pa.array([1, 2], kind)}), tmp_path / "table.parquet")
        digests.add(parquet_digest(tmp_path / "table.parquet"))
    assert len(digests) == 4
    pq.write_table(pa.table({"a": [{"b": 1}]}), tmp_path / "table.parquet")
    with pytest.raises(TypeError, match="no digest of columns of type struct"):
        parquet_digest(tmp_path / "table.parquet")


# --- real dumps ----------------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "dataset", "reviews", "metadata", "asins"),
    [
        ("magazine_subscriptions_2018", "Magazine_Subscriptions", 2375, 3385, 2320),
        ("all_beauty_2018", "All_Beauty", 5269, 0, 0),
        ("derived_raw", "Industrial_and_Scientific", 59_427, 5326, 5326),
        ("derived_raw", "Beauty", 198_502, 12_101, 12_101),
    ],
)
def test_real_dumps_land_whole(tmp_path, folder, dataset, reviews, metadata, asins):
    data = os.environ.get("RAW2RANK_DATA")
    if not data or not (Path(data) / folder).is_dir():
        pytest.skip(f"RAW2RANK_DATA does not name a folder with {folder}")
    assert dataset in datasets_in(Path(data) / folder)
    found = find_dumps(Path(data) / folder, dataset)
    landed = land_reviews(list(found.reviews), tmp_path / "reviews")
    assert (landed.lines_read, landed.rows_kept, landed.rows_rejected) == (reviews, reviews, 0)
    landed = land_metadata(list(found.metadata), tmp_path / "metadata")
    assert (landed.lines_read, landed.rows_kept, landed.rows_rejected) == (metadata, metadata, 0)
    assert len(pq.read_table(tmp_path / "metadata" / "rows.parquet")["asin"].unique()) == asins

    rows = pq.read_table(tmp_path / "reviews" / "rows.parquet")
    if dataset == "Magazine_Subscriptions":
        assert len(rows["line_digest"].unique()) == reviews - 42
        keys = rows.group_by(["reviewer_id", "asin", "unix_review_time", "overall"]).aggregate([])
        assert len(keys) == 2328
    if dataset == "All_Beauty":
        keys = rows.group_by(["reviewer_id", "asin", "unix_review_time", "overall"]).aggregate([])
        assert len(keys) == 4166
