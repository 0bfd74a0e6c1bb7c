"""What is in a file of JSON lines: another release is read as such, and other things are refused in one sentence."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from source_reading import read

from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import INTERACTIONS_SCHEMA, METADATA_SCHEMA
from ml.data.sources import SourceDescription, find_source

REVIEW_2014 = {"reviewerID": "A1", "asin": "B1", "helpful": [0, 1], "overall": 4.0, "unixReviewTime": 1393372800}
REVIEW_2018 = {"overall": 4.0, "verified": True, "reviewerID": "A1", "asin": "B1", "unixReviewTime": 1393372800}
REVIEW_2023 = {"rating": 4.0, "asin": "B2", "parent_asin": "B1", "user_id": "A1", "timestamp": 1393372800123}
ITEM_2014 = {"asin": "B1", "title": "A saw", "categories": [["Tools"]], "imUrl": "saw.jpg"}
ITEM_2018 = {"category": ["Tools"], "title": "A saw", "also_buy": [], "asin": "B1"}
ITEM_2023 = {"main_category": "Tools", "title": "A saw", "parent_asin": "B1", "average_rating": 4.1, "rating_number": 9}
YELP = {"review_id": "r", "user_id": "u", "business_id": "b", "stars": 4.0, "date": "2018-07-07 22:09:11"}
GOODREADS = {
    "user_id": "u",
    "book_id": "b",
    "review_id": "r",
    "rating": 4,
    "date_added": "Fri Aug 25 13:55:02 -0700 2017",
}
STEAM = {"username": "u", "product_id": "725280", "hours": 2.5, "date": "2017-12-17", "text": "it's good"}
STEAM_ITEMS = {"user_id": "u", "items_count": 1, "items": [{"item_id": "10"}]}


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def write(path: Path, data: bytes) -> Path:
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = pa.Codec("zstd").compress(data, asbytes=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "row", "layout", "warns"),
    [
        ("Shop.json.gz", REVIEW_2023, "amazon_2023", True),
        ("Shop_5.json", REVIEW_2023, "amazon_2023", True),
        ("reviews_Shop.json.zst", REVIEW_2023, "amazon_2023", True),
        ("Shop.jsonl.gz", REVIEW_2018, "amazon_2018", True),
        ("Shop.jsonl", REVIEW_2014, "amazon_2018", True),
        ("Shop.json.gz", REVIEW_2014, "amazon_2018", False),
        ("reviews_Shop.json.gz", REVIEW_2018, "amazon_2014", False),
        ("Shop.jsonl.zst", REVIEW_2023, "amazon_2023", False),
    ],
)
def test_reviews_of_another_release_are_read_as_what_they_are(tmp_path, name, row, layout, warns):
    # what is damaged says nothing
    write(tmp_path / name, b"{damaged\n" + lines(row, row, {**row, "asin": None, "parent_asin": None}))
    source = find_source(tmp_path, "Shop")
    (unit,) = source.interactions
    assert source.layout == unit.layout == layout
    found = read(unit, INTERACTIONS_SCHEMA)
    assert found.values("user_id", "item_id", "timestamp") == [("A1", "B1", 1393372800)] * 2
    assert len(found.rejects) == 2
    (warning,) = found.counts[0].reading.warnings or ("",)
    assert bool(warning) == warns
    if warns:
        assert f"LAYOUT={layout}" in warning


def test_the_fields_that_are_read_and_those_that_are_not_are_told(tmp_path):
    write(tmp_path / "Shop.json.gz", lines(REVIEW_2014, {**REVIEW_2018, "vote": "3"}))
    (unit,) = find_source(tmp_path, "Shop").interactions
    reading = read(unit, INTERACTIONS_SCHEMA).counts[0].reading
    assert reading.columns == {
        "user": "reviewerID",
        "item": "asin",
        "timestamp": "unixReviewTime",
        "rating": "overall",
        "verified": "verified",
    }
    assert (reading.unused_columns, reading.time_unit, reading.order) == (("helpful", "vote"), "seconds", "time")
    write(tmp_path / "Shop.json.gz", lines(REVIEW_2023))
    (unit,) = find_source(tmp_path, "Shop").interactions
    reading = read(unit, INTERACTIONS_SCHEMA).counts[0].reading
    assert reading.columns == {"user": "user_id", "item": "parent_asin", "timestamp": "timestamp", "rating": "rating"}
    assert (reading.unused_columns, reading.time_unit) == ((), "milliseconds")


def pretty(*rows: object) -> bytes:
    return "\n".join(json.dumps(row, indent=2) for row in rows).encode()


REFUSED = {
    "an array": (json.dumps([REVIEW_2018] * 3).encode(), "is one JSON array, .*jq -c"),
    "a long array": (json.dumps([REVIEW_2018] * 9000).encode(), "is one JSON array, .*jq -c"),
    "an array over lines": (b"[\n" + b",\n".join([json.dumps(REVIEW_2018).encode()] * 2) + b"\n]", "jq -c"),
    "a pretty array": (json.dumps([REVIEW_2018] * 3, indent=1).encode(), "is one JSON array"),
    "pretty objects": (pretty(REVIEW_2018, REVIEW_2018), "holds JSON objects over several lines, .*jq -c"),
    "metadata of 2014": (f"{ITEM_2014}\n".encode(), "looks like metadata of 2014, not like reviews of 2018; .*meta_"),
    "metadata of 2018": (lines(ITEM_2018), "looks like metadata of 2018"),
    "metadata of 2023": (lines(ITEM_2023), "looks like metadata of 2023"),
    "Yelp": (lines(YELP), 'looks like reviews of Yelp, .*preset = "yelp" and interactions'),
    "Goodreads": (lines(GOODREADS), 'looks like reviews of Goodreads, .*preset = "goodreads"'),
    "Steam": (f"{STEAM}\n".encode(), 'looks like reviews of Steam, .*preset = "steam"'),
    "bundles of Steam": (f"{STEAM_ITEMS}\n".encode(), "looks like the items of Steam's users"),
    "objects with commas": (b",\n".join([json.dumps(REVIEW_2018).encode()] * 4), "with commas behind them, .*sed"),
    "objects on one line": (json.dumps(REVIEW_2018).encode() * 3, "several JSON objects on a line, .*jq -c"),
    "old Macs": (lines(REVIEW_2018, REVIEW_2018).replace(b"\n", b"\r"), "several JSON objects on a line"),
    "columns of pandas": (lines({"reviewerID": {"0": "u"}, "asin": {"0": "i"}}), "value for each column, .*lines=True"),
    "interactions": (lines({"user": "u", "item": "i"}), 'layout = "json_lines" and interactions = .*user = "<key>"'),
    "others": (lines({"customer": "u", "sku": "i", "when": 5}), "with the keys customer, sku, when, which are not"),
    "a table": (b"user,item,time\nu,i,1\nu,j,2\n", "holds no JSON objects, .*'user,item,time'.*\\.csv"),
    "sequences": (b"1 2 3 4\n2 3 4\n", "holds no JSON objects"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("file", ["Shop.json.gz", "reviews_Shop.json", "Shop.jsonl.zst"])
def test_what_is_no_review_is_refused_with_the_remedy(tmp_path, file, name):
    data, message = REFUSED[name]
    path = write(tmp_path / file, data)
    with pytest.raises(LandingError, match=message.replace("reviews of 2018; ", "reviews of 20[12][38]; ")) as error:
        find_source(tmp_path, "Shop")
    assert str(error.value).startswith(f"{path} ")


def test_another_release_than_the_one_that_is_said_is_refused(tmp_path):
    path = write(tmp_path / "Shop.json.gz", lines(REVIEW_2023))
    with pytest.raises(
        LandingError, match=r"looks like reviews of 2023, not like reviews of 2018; say LAYOUT=amazon_2023"
    ):
        find_source(tmp_path, "Shop", SourceDescription("amazon_2018"))
    (unit,) = find_source(tmp_path, "Shop", SourceDescription("amazon_2023")).interactions
    assert (unit.files[0].path, unit.layout) == (path, "amazon_2023")
    assert read(unit, INTERACTIONS_SCHEMA).counts[0].reading.warnings == ()


@pytest.mark.parametrize("data", [b"", b"\n\n", b"{broken\n" * 60, b"[1, 2\n{x", lines(REVIEW_2018)[:20]])
def test_what_cannot_be_told_is_read_as_its_name_says(tmp_path, data):
    write(tmp_path / "Shop.json.gz", data)
    assert find_source(tmp_path, "Shop").layout == "amazon_2018"


def test_a_start_that_is_damaged_does_not_hide_the_reviews_behind_it(tmp_path):
    write(tmp_path / "Shop.json.gz", lines(*[YELP] * 30, REVIEW_2018))
    (unit,) = find_source(tmp_path, "Shop").interactions
    assert len(read(unit, INTERACTIONS_SCHEMA).rows) == 1


# --- metadata ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interactions", ["Shop.json.gz", "reviews_Shop.json", "Shop.jsonl.gz", "Shop.csv", "Shop.txt"])
@pytest.mark.parametrize("metadata", ["meta_Shop.json.gz", "meta_Shop.jsonl", "meta_Shop.json", "meta_Shop.jsonl.zst"])
@pytest.mark.parametrize(
    ("line", "layout"),
    [
        (repr(ITEM_2014).encode(), "amazon_2014"),
        (b" {\"asin\": 'B1', 'title': \"A saw\", 'imUrl': 'saw.jpg'}", "amazon_2014"),
        (b"{u'asin': u'B1', u'title': u'A saw'}", "amazon_2014"),
        (lines(ITEM_2014), "amazon_2014"),
        (lines(ITEM_2018), "amazon_2018"),
        (lines(ITEM_2023), "amazon_2023"),
    ],
    ids=["literal", "double quotes", "Python 2", "2014 as JSON", "2018", "2023"],
)
def test_metadata_is_read_as_what_it_is(tmp_path, interactions, metadata, line, layout):
    (tmp_path / interactions).write_bytes(b"")
    write(tmp_path / metadata, line.rstrip() + b"\n")
    source = find_source(tmp_path, "Shop")
    assert source.notes == ()
    (unit,) = source.metadata
    if not (layout == "amazon_2018" and source.layout == "amazon_2014"):
        assert unit.layout == layout
    (row,) = read(unit, METADATA_SCHEMA).rows
    assert (row["item_id"], row["title"], row["invalid_fields"]) == ("B1", "A saw", [])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lines(REVIEW_2018), "looks like reviews of 2018, not like metadata; put the metadata there"),
        (lines(REVIEW_2023), "looks like reviews of 2023, not like metadata"),
        (lines({"id": "B1", "title": "x"}), "holds objects without asin or parent_asin"),
        (json.dumps([ITEM_2018] * 2).encode(), "is one JSON array, and metadata are lines"),
        (b"asin,title\nB1,A saw\n", "holds no JSON objects, and metadata are lines"),
    ],
)
def test_what_is_no_metadata_is_refused(tmp_path, data, message):
    write(tmp_path / "Shop.json.gz", lines(REVIEW_2018))
    write(tmp_path / "meta_Shop.json.gz", data)
    with pytest.raises(LandingError, match=message):
        find_source(tmp_path, "Shop")


def test_a_5_core_has_the_metadata_of_its_category(tmp_path):
    write(tmp_path / "Shop_5.json.gz", lines(REVIEW_2018))
    write(tmp_path / "meta_Shop.json.gz", lines(ITEM_2018))
    for dataset in ("Shop", "Shop_5"):
        source = find_source(tmp_path, dataset)
        assert [file.name for file in source.files] == ["Shop_5.json.gz", "meta_Shop.json.gz"]
    write(tmp_path / "meta_Shop_5.json.gz", lines(ITEM_2018))
    assert find_source(tmp_path, "Shop_5").files[1].name == "meta_Shop_5.json.gz"
    assert find_source(tmp_path, "Shop").files[1].name == "meta_Shop.json.gz"


def test_metadata_that_is_not_read_is_named(tmp_path):
    write(tmp_path / "Shop.json.gz", lines(REVIEW_2018))
    assert find_source(tmp_path, "Shop").notes == ()
    write(tmp_path / "Shop_metadata.csv", b"asin,title\n")
    write(tmp_path / "meta_Shops.json.gz", lines(ITEM_2018))
    # that of another dataset is no surprise
    write(tmp_path / "Other.json.gz", lines(REVIEW_2018))
    write(tmp_path / "meta_Other.json.gz", lines(ITEM_2018))
    notes = find_source(tmp_path, "Shop").notes
    assert [note.split()[0] for note in notes] == ["Shop_metadata.csv", "meta_Shops.json.gz"]
    assert 'metadata = ["meta_Shops.json.gz"] in source.toml' in notes[1]
