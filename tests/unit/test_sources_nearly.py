"""Files that nearly have the name or the form of what is read: named with what to do."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_reading import Read, read

from ml.data.landing.file_lines import LandingError
from ml.data.landing.land import land
from ml.data.landing.schema import INTERACTIONS_SCHEMA, METADATA_SCHEMA
from ml.data.sources import find_source

REVIEW = {"reviewerID": "A1", "asin": "B1", "overall": 4.0, "unixReviewTime": 1_393_372_800}
REVIEW_2023 = {"user_id": "A1", "parent_asin": "B1", "rating": 4.0, "timestamp": 1_393_372_800_123}
TABLE = "user,item,timestamp\nu,i,1400000000\n"


def read_reviews(folder: Path, name: str, *lines: str) -> Read:
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    (unit,) = find_source(folder, "Shop").interactions
    return read(unit, INTERACTIONS_SCHEMA)


# --- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("Shop.CSV", "Shop.CSV is there: capital letters count, rename it to Shop.csv"),
        ("shop.csv", "shop.csv is there: capital letters count, rename it to Shop.csv"),
        ("Shop.csv.GZ", "Shop.csv.GZ is there: capital letters count, rename it to Shop.csv.gz"),
        ("Shop.csv.bz2", "Shop.csv.bz2 is there: unpack or decompress it"),
        ("Shop.zip", "Shop.zip is there: unpack or decompress it"),
        ("Shop.tar.gz", "Shop.tar.gz is there: unpack or decompress it"),
        ("Shop/part-0.csv", 'Shop is a folder: .* interactions = ["Shop/*.csv"] in source.toml'),
        ("Shop.csv/part-0.csv", 'Shop.csv is a folder: .* interactions = ["Shop.csv/*.csv"] in source.toml'),
    ],
)
def test_a_file_that_is_nearly_named_after_the_dataset_is_named(tmp_path, name, remedy):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(TABLE)
    with pytest.raises(LandingError) as error:
        find_source(tmp_path, "Shop")
    assert all(part in str(error.value) for part in remedy.split(" .* "))


@pytest.mark.parametrize("name", ["meta_Shop.csv", "meta_Shop.tsv", "meta_Shop.parquet"])
def test_metadata_in_a_table_is_not_read_and_told(tmp_path, name):
    (tmp_path / "Shop.json").write_text(json.dumps(REVIEW) + "\n")
    (tmp_path / name).write_text("asin,title\nB1,A saw\n")
    source = find_source(tmp_path, "Shop")
    assert source.metadata == ()
    (note,) = source.notes
    assert note.startswith(f"{name} looks like metadata, and is not read, since metadata is JSON lines")
    assert 'to_json("meta_Shop.jsonl"' in note


# --- reviews -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Shop.json", "reviews_Shop.json", "Shop_5.json"])
def test_reviews_that_python_wrote_without_json_are_read(tmp_path, name):
    lines = [repr({**REVIEW, "reviewText": 'it\'s "good"', "verified": True}), json.dumps(REVIEW), "{'a': open('x')}"]
    found = read_reviews(tmp_path, name, *lines)
    assert found.values("user_id", "item_id", "verified") == [("A1", "B1", True), ("A1", "B1", None)]
    assert found.reasons() == [(3, "malformed JSON")]


@pytest.mark.parametrize(
    ("name", "review", "user", "item"),
    [("Shop.json", REVIEW, "reviewerID", "asin"), ("Shop.jsonl", REVIEW_2023, "user_id", "parent_asin")],
)
def test_white_space_around_users_and_items_of_reviews_is_dropped(tmp_path, name, review, user, item):
    spaced = [{**review, user: " A1"}, {**review, item: "B1 "}, {**review, user: "A1\u00a0"}, review]
    found = read_reviews(tmp_path, name, *map(json.dumps, spaced))
    assert found.values("user_id", "item_id") == [("A1", "B1")] * 4
    assert read_reviews(tmp_path, name, json.dumps({**review, user: "A 1"})).values("user_id") == [("A 1",)]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("meta_Shop.json", {"asin": " B1", "title": "A saw", "category": ["Tools"]}),
        ("meta_Shop.jsonl", {"parent_asin": "B1 ", "title": "A saw", "main_category": "Tools"}),
        ("meta_Shop.json", "{'asin': 'B1 ', 'title': 'A saw', 'categories': [['Tools']]}"),
    ],
)
def test_white_space_around_items_of_metadata_is_dropped(tmp_path, name, row):
    (tmp_path / "Shop.json").write_text(json.dumps(REVIEW) + "\n")
    (tmp_path / name).write_text((row if isinstance(row, str) else json.dumps(row)) + "\n")
    (unit,) = find_source(tmp_path, "Shop").metadata
    assert read(unit, METADATA_SCHEMA).values("item_id") == [("B1",)]


# --- folders named after values ------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("day", ["date=2020-01-02", "dt=20200102"])
def test_a_day_and_an_hour_in_the_names_of_folders_are_the_time(tmp_path, ending, day):
    for hour in (9, 10):
        folder = tmp_path / "Shop" / day / f"hour={hour}"
        folder.mkdir(parents=True)
        if ending == "csv":
            (folder / "part-0.csv").write_text(f"user,item\nu,i{hour}\n")
        else:
            pq.write_table(pa.table({"user": ["u"], "item": [f"i{hour}"]}), folder / "part-0.parquet")
    (tmp_path / "source.toml").write_text(f'layout = "table"\ninteractions = ["Shop/**/*.{ending}"]\n')
    found = [read(unit, INTERACTIONS_SCHEMA) for unit in find_source(tmp_path, "Shop").interactions]
    times = [row for one in found for row in one.values("item_id", "timestamp")]
    assert times == [("i9", 1577955600), ("i10", 1577959200)]
    assert found[0].counts[0].reading.columns["timestamp"] == f"{day.partition('=')[0]}/hour (folder)"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("folders", ["day=7", "month=1/day=7"])
def test_numbers_of_days_in_the_names_of_folders_are_no_times(tmp_path, ending, folders):
    # as seconds they would lie in 1970
    folder = tmp_path / "Shop" / folders
    folder.mkdir(parents=True)
    (folder / "part-0.csv").write_text("user,item\nu,i\n")
    pq.write_table(pa.table({"user": ["u"], "item": ["i"]}), folder / "part-0.parquet")
    toml = f'layout = "table"\ninteractions = ["Shop/**/*.{ending}"]\n'
    (tmp_path / "source.toml").write_text(toml)
    with pytest.raises(LandingError, match=r"part-0.*day.* holds numbers up to 7, .*timestamp = false"):
        read(find_source(tmp_path, "Shop").interactions[0], INTERACTIONS_SCHEMA)
    (tmp_path / "source.toml").write_text(f"{toml}[columns]\ntimestamp = false\n")
    found = read(find_source(tmp_path, "Shop").interactions[0], INTERACTIONS_SCHEMA)
    assert found.values("timestamp", "given_position") == [(None, 1)]


# --- source.toml ---------------------------------------------------------------------------------------------


def refused(folder: Path, toml: str | bytes) -> str:
    (folder / "Shop.csv").write_text(TABLE)
    (folder / "source.toml").write_bytes(toml.encode() if isinstance(toml, str) else toml)
    with pytest.raises(LandingError) as error:
        read(find_source(folder, "Shop").interactions[0], INTERACTIONS_SCHEMA)
    return str(error.value)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            'layout = "table"\n[columns]\nuser = "user"\ninteractions = ["Shop.csv"]',
            "interactions stands below [columns]",
        ),
        ('layout = "table"\n[keep]\nuser = ["u"]\ntime_format = "days"', "time_format stands below [keep]"),
        ('layout = "table"\nencoding = "lat\\u0000in"', "encoding = 'lat\\x00in' is not read"),
        (
            'layout = "table"\nseparator = "whitespace"',
            "separator = 'whitespace' does not divide it into names, but ',' does",
        ),
    ],
)
def test_faults_of_a_description_are_named(tmp_path, toml, message):
    assert message in refused(tmp_path, toml)


def read_with(folder: Path, toml: str) -> list[Read]:
    (folder / "Shop.csv").write_text(TABLE)
    (folder / "source.toml").write_text(toml)
    return [read(unit, INTERACTIONS_SCHEMA) for unit in find_source(folder, "Shop").interactions]


@pytest.mark.parametrize(
    "toml",
    [
        '\ufefflayout = "table"\n',
        'layout = "table"\ninteractions = ["Shop.csv", "./Shop.csv"]\n',
        'layout = "table"\ninteractions = ["*"]\n',
        'layout = "table"\nseparator = "COMMA"\n',
    ],
)
def test_a_description_means_the_same_however_it_is_written(tmp_path, toml):
    (found,) = read_with(tmp_path, toml)
    assert found.values("user_id", "item_id") == [("u", "i")]
    assert found.counts[0].source_file == "Shop.csv"


def test_unused_columns_are_no_time_and_have_to_be_there(tmp_path):
    (found,) = read_with(tmp_path, 'layout = "table"\nunused = ["timestamp", "price"]\n')
    no_time, unused = found.counts[0].reading.warnings
    assert no_time.endswith("if that is right, put timestamp = false under [columns] of source.toml")
    assert unused == "unused names 'price', which is no column of the file"


def test_broken_links_are_named(tmp_path):
    (tmp_path / "Shop.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(LandingError, match=r"Shop\.csv is there, but is no file that can be read"):
        find_source(tmp_path, "Shop")
    (tmp_path / "source.toml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(LandingError, match=r"source\.toml is a link to a file that is not there"):
        find_source(tmp_path, "Shop")


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    with pytest.raises(LandingError, match="cannot be the name of a dataset"):
        find_source(tmp_path, "x" * 300)


# --- the same twice ------------------------------------------------------------------------------------------


def landed_warnings(folder: Path) -> dict[str, str | None]:
    land(find_source(folder, "Shop").interactions, folder / "landed", INTERACTIONS_SCHEMA, 1)
    files = pq.read_table(folder / "landed" / "files.parquet").to_pylist()
    return {file["source_file"]: file["reading_warnings"] for file in files}


def test_a_compressed_copy_beside_a_file_is_warned_of(tmp_path):
    text = TABLE + "".join(f"u{n},i{n},{1_400_000_000 + n}\n" for n in range(50))
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "c.csv").write_text(text.replace("u7,", "u8,"))
    (tmp_path / "source.toml").write_text('layout = "table"\ninteractions = ["?.csv*"]\n')
    told = landed_warnings(tmp_path)
    assert told.pop("b.csv.gz").startswith("it holds the same lines as a.csv; take one of the two away")
    assert told == {"a.csv": None, "c.csv": None}
    # and again where nothing is read anew
    assert landed_warnings(tmp_path)["b.csv.gz"].startswith("it holds the same lines as a.csv")


@pytest.mark.parametrize("mark", ["_delta_log/00000.json", ".hoodie/hoodie.properties", "metadata/v1.metadata.json"])
def test_tables_with_versions_are_refused(tmp_path, mark):
    folder = tmp_path / "Shop.parquet"
    (folder / mark).parent.mkdir(parents=True)
    (folder / mark).write_text("{}")
    pq.write_table(pa.table({"user": ["u"], "item": ["i"]}), folder / "part-0.parquet")
    with pytest.raises(LandingError, match=r"Shop\.parquet is a table of \w+.*files of earlier versions"):
        find_source(tmp_path, "Shop")
    (tmp_path / "source.toml").write_text('layout = "table"\ninteractions = ["Shop.parquet"]\n')
    with pytest.raises(LandingError, match="files of earlier versions"):
        find_source(tmp_path, "Shop")
