"""Landing: every line of a dump is a row or a reject, and nothing is written by halves."""

import gzip
import json
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

from ml.data.content_digest import parquet_digest
from ml.data.landing import file_lines as lines
from ml.data.landing import line_files as landing_lines
from ml.data.landing import unit as landing_units
from ml.data.landing.land import INTERACTIONS_SCHEMA, METADATA_SCHEMA, LandingError, content_digest, land
from ml.data.landing.schema import Reject
from ml.data.sources import datasets_in, find_source
from ml.data.sources.amazon.dumps import land_metadata, land_reviews
from ml.data.sources.amazon.v2018 import (
    METADATA_REASONS,
    REVIEW_REASONS,
    Review,
    ReviewLines,
    read_metadata,
    read_review,
)
from ml.data.versions import VERSIONS

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
    """The rows of a table of a landing folder, in the order of their files and lines."""
    if name == "files":
        return pq.read_table(folder / "files.parquet").to_pylist()
    rows = [row for path in (folder / name).glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: (row["source_file"], row["line_number"]))


def one_table(folder: Path, name: str) -> Path:
    [path] = (folder / name).iterdir()
    return path


# --- reasons -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "reason", "detail"),
    [
        (b"", "blank line", ""),
        (b" \t", "blank line", "2 bytes"),
        (b'{"asin": "B\xff"}', "invalid UTF-8", "byte 11"),
        (line(REVIEW)[:-9], "malformed JSON", ""),
        (line(REVIEW).replace(b"4.0", b"NaN"), "overall out of range", "NaN"),
        (line(REVIEW).replace(b"4.0", b"1e999"), "overall out of range", "Infinity"),
        (line(REVIEW).replace(b"1393372800", b"9" * 5000), "unixReviewTime not an integer", "Infinity"),
        (line(REVIEW).replace(b"A1", b"A\\ud800"), "reviewerID not a string", "\\ud800"),
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
    assert read_review(line(review(unixReviewTime=1393372800.0))).timestamp == 1393372800
    assert read_review(line(review(reviewerID="A-1 x"))).user_id == "A-1 x"
    assert read_review(line(review(verified="yes")))[4:] == (None, ("verified",))
    del (without := dict(REVIEW))["verified"]
    assert read_review(line(without))[4:] == (None, ())
    assert read_review(line(REVIEW)[:-1] + b', "asin": "B2"}').item_id == "B2"
    assert read_review(b"\xef\xbb\xbf" + line(REVIEW)) == read_review(line(REVIEW))


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
    empty = dict.fromkeys(["title", "brand", "main_cat", "price", "category", "image_url", "item_text"])
    assert table(tmp_path / "landed", "rows") == [
        {
            **origin,
            "line_number": 1,
            "line_digest": xxh3_64_intdigest(line(ITEM)),
            "item_id": "B1",
            "title": "A saw",
            "brand": "Norvalle",
            "main_cat": "Tools",
            "price": "$1.00",
            "category": ["Demo", "Tools"],
            "image_url": "high.jpg",
            "item_text": None,
            "invalid_fields": [],
        },
        {
            **origin,
            "line_number": 3,
            "line_digest": xxh3_64_intdigest(line(bare)),
            "item_id": "B2",
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
    for name in ("rows", "rejects"):
        some, none = (pq.read_schema(one_table(tmp_path / folder, name)) for folder in ("some", "none"))
        assert none.equals(some)
        assert table(tmp_path / "none", name) == []
    some, none = (pq.read_schema(tmp_path / folder / "files.parquet") for folder in ("some", "none"))
    assert none.equals(some)
    assert table(tmp_path / "none", "files") == []


def test_files_are_landed_in_the_order_of_their_names(tmp_path):
    one = write_gzip(tmp_path / "One.json.gz", line(review(asin="B1")) + b"\n" + line(review(asin="B2")))
    two = write_gzip(tmp_path / "Two.json.gz", b"{}\n" + line(review(asin="B3")))
    with (
        patch.object(lines, "CHUNK_BYTES", 64),
        patch.object(landing_lines, "BYTES_PER_BATCH", 1),
        patch.object(landing_units, "ROWS_PER_GROUP", 1),
    ):
        landed = land_reviews([one, two], tmp_path / "landed", processes=1)
    groups = sorted(pq.ParquetFile(path).num_row_groups for path in (tmp_path / "landed" / "rows").iterdir())
    assert groups == [1, 2]
    rows = table(tmp_path / "landed", "rows")
    assert [(row["source_file"], row["line_number"], row["item_id"]) for row in rows] == [
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

UNREADABLE_FILES = {
    "empty": (b"", "is empty"),
    "nothing compressed": (gzip.compress(b""), "holds no line"),
    "cut in the header": (gzip.compress(line(REVIEW))[:7], "is cut short"),
    "one byte": (b"\x1f", "is cut short"),
    "a web page": (b"<!DOCTYPE html><html>", "is a web page"),
    "zeros": (bytes(5000), "nor text"),
    "another compression": (b"\xfd7zXZ\x00" + line(REVIEW), "is compressed with xz"),
    "UTF-16": (line(REVIEW).decode().encode("utf-16"), "is text in UTF-16"),
}


@pytest.mark.parametrize("land", [land_reviews, land_metadata])
@pytest.mark.parametrize("bad", UNREADABLE_FILES)
def test_a_file_that_cannot_be_read_is_named_and_leaves_everything_as_it_was(tmp_path, land, bad):
    data, message = UNREADABLE_FILES[bad]
    good = write_gzip(tmp_path / "A_good.json.gz", line({**REVIEW, **ITEM}))
    (tmp_path / "Bad.json.gz").write_bytes(data)
    land([good], tmp_path / "lake" / "landed")
    before = content_digest(tmp_path / "lake" / "landed")
    for folder in ("landed", "other"):
        with pytest.raises(LandingError, match=message) as error:
            land([good, tmp_path / "Bad.json.gz"], tmp_path / "lake" / folder, processes=1)
        assert "Bad.json.gz" in str(error.value)
    assert content_digest(tmp_path / "lake" / "landed") == before
    assert sorted(os.listdir(tmp_path / "lake")) == [VERSIONS, "landed"]
    assert sorted(os.listdir(tmp_path / "lake" / "landed")) == ["files.parquet", "rejects", "rows", "units"]


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


def test_a_large_file_is_read_by_several_processes_into_the_same_bytes(tmp_path):
    rows = [line(review(asin=f"B{n}")) if n % 7 else b"nonsense %d" % n for n in range(2000)]
    rows[500] = line(review(overall=9))
    data = b"\r\n".join(rows)
    whole = write_gzip(tmp_path / "Whole.json.gz", data)
    broken = tmp_path / "Broken.json.gz"
    broken.write_bytes(gzip.compress(data, compresslevel=1)[:-2000])
    for dump in (whole, broken):
        with patch.object(landing_lines, "BYTES_PER_BATCH", 10_000), patch.object(lines, "CHUNK_BYTES", 3000):
            alone = land_reviews([dump], tmp_path / "alone")
            with (
                patch.object(landing_lines, "LEAST_BYTES_FOR_PROCESSES", 0),
                patch.object(landing_lines, "processors", lambda: 4),
                patch.object(landing_lines, "_Parser", side_effect=AssertionError("not in this process")),
            ):
                together = land_reviews([dump], tmp_path / "together")
        assert together == alone
        assert alone.rows_rejected > 200
        for name in ("rows", "rejects"):
            assert (
                one_table(tmp_path / "together", name).read_bytes() == one_table(tmp_path / "alone", name).read_bytes()
            )


# --- digests -------------------------------------------------------------------------------------------------


def test_the_content_digest_is_of_the_lines_alone(tmp_path):
    data = b"\n".join([line(review(asin=f"B{n}")) for n in range(50)] + [b"nonsense"])
    digests = []
    for place, (level, batch) in enumerate([(1, 1 << 16), (9, 7)]):
        (tmp_path / str(place)).mkdir()
        dump = tmp_path / str(place) / "Some.json.gz"
        dump.write_bytes(gzip.compress(data, level))
        with patch.object(landing_lines, "ROWS_PER_BATCH", batch), patch.object(lines, "CHUNK_BYTES", 500 * batch):
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


def test_parquet_digests_see_through_dictionaries(tmp_path):
    plain = pa.array(["a", None, "b", "a"], pa.string())
    digests = set()
    for column in (plain, plain.dictionary_encode(), pa.array(["a", None, "b", "b"], pa.string()).dictionary_encode()):
        pq.write_table(pa.table({"text": column}), tmp_path / "table.parquet")
        digests.add(parquet_digest(tmp_path / "table.parquet"))
    assert len(digests) == 2


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
    found = find_source(Path(data) / folder, dataset)
    landed = land(found.interactions, tmp_path / "reviews", INTERACTIONS_SCHEMA)
    assert (landed.lines_read, landed.rows_kept, landed.rows_rejected) == (reviews, reviews, 0)
    landed = land(found.metadata, tmp_path / "metadata", METADATA_SCHEMA)
    assert (landed.lines_read, landed.rows_kept, landed.rows_rejected) == (metadata, metadata, 0)
    assert len(pq.read_table(tmp_path / "metadata" / "rows")["item_id"].unique()) == asins

    rows = pq.read_table(tmp_path / "reviews" / "rows")
    if dataset == "Magazine_Subscriptions":
        assert len(rows["line_digest"].unique()) == reviews - 42
        keys = rows.group_by(["user_id", "item_id", "timestamp", "rating"]).aggregate([])
        assert len(keys) == 2328
    if dataset == "All_Beauty":
        keys = rows.group_by(["user_id", "item_id", "timestamp", "rating"]).aggregate([])
        assert len(keys) == 4166


def test_a_number_that_is_too_large_counts_only_where_it_is_looked_at(tmp_path):
    lines = [
        line(REVIEW).replace(b"{", b'{"vote": 1e999, ', 1),
        line(review(verified="no", vote=1)).replace(b'"vote": 1', b'"vote": 1e999'),
    ]
    columns = {name: [] for name in Review._fields}
    added = ReviewLines().add([*lines, line(REVIEW).replace(b"4.0", b"1e999")], columns)
    assert [(index, reject.reason) for index, reject in added.rejected] == [(2, "overall out of range")]
    assert columns["invalid_fields"] == [(), ("verified",)]


def test_what_is_nested_deeply_is_shown_and_stops_nothing():
    deep = b'{"asin": ' + b"[" * 300 + b"]" * 300 + b"}"
    assert read_metadata(deep) == Reject("asin not a string", "a JSON array, nested deeply")
