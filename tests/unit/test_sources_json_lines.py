"""JSON lines of any kind, published data sets of JSON lines, and rows that are left out by the value of a column."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_reading import Read, read

from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import INTERACTIONS_SCHEMA
from ml.data.sources import SourceDescription, find_source

TIME = 1_400_000_000
TOML = 'layout = "json_lines"\ninteractions = ["events.jsonl"]\n'


def read_rows(folder: Path, rows: list[object], toml: str = TOML, name: str = "events.jsonl") -> Read:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    return read_text(folder, text, toml, name)


def read_text(folder: Path, text: str, toml: str, name: str) -> Read:
    (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    (folder / "source.toml").write_text(toml)
    (unit,) = find_source(folder, "shop").interactions
    return read(unit, INTERACTIONS_SCHEMA)


def refused(folder: Path, rows: list[object], toml: str = TOML) -> str:
    with pytest.raises(LandingError) as error:
        read_rows(folder, rows, toml)
    return str(error.value)


# --- keys ----------------------------------------------------------------------------------------------------


def test_keys_are_recognised_as_columns_of_tables_are(tmp_path):
    found = read_rows(tmp_path, [{"text": "x", "user_id": "u", "item_id": 7, "rating": 4, "created_at": TIME * 1000}])
    assert found.values("user_id", "item_id", "rating", "timestamp") == [("u", "7", 4.0, TIME)]
    reading = found.counts[0].reading
    assert reading.columns == {"user": "user_id", "item": "item_id", "timestamp": "created_at", "rating": "rating"}
    assert (reading.unused_columns, reading.time_unit, reading.order) == (("text",), "milliseconds", "time")
    assert reading.warnings == ()


def test_keys_are_named_under_columns(tmp_path):
    toml = (
        TOML + 'time_format = "%d.%m.%Y"\n[columns]\nuser = "who"\nitem = "what"\ntimestamp = "when"\nrating = false\n'
    )
    found = read_rows(tmp_path, [{"who": 1, "what": "i", "when": "13.05.2014", "rating": "good"}], toml)
    assert found.values("user_id", "item_id", "rating", "timestamp") == [("1", "i", None, 1399939200)]


def test_a_key_that_only_some_objects_have_is_as_good_as_null(tmp_path):
    rows = [{"user": "u", "item": "i", "timestamp": TIME}, {"timestamp": TIME, "user": "u", "item": "j", "rating": 2}]
    found = read_rows(tmp_path, [*rows, {"user": "u", "timestamp": TIME}, {"user": "u", "item": "k"}])
    assert found.values("item_id", "rating") == [("i", None), ("j", 2.0)]
    assert found.reasons() == [(3, "item missing"), (4, "timestamp missing")]


def test_without_a_time_the_order_of_the_lines_counts_with_a_warning(tmp_path):
    found = read_rows(tmp_path, [{"user": "u", "item": "i", "at": TIME}, {"user": "u", "item": "j", "at": TIME}])
    assert found.values("item_id", "timestamp", "given_position") == [("i", None, 1), ("j", None, 2)]
    (warning,) = found.counts[0].reading.warnings
    assert 'put timestamp = "at" under [columns]' in warning


@pytest.mark.parametrize(
    ("rows", "toml", "message"),
    [
        ([{"who": "u", "item": "i"}], TOML, "events.jsonl, the keys of its objects: no column is known as the user"),
        ([{"user": {"id": "u"}, "item": "i"}], TOML, r"'user', taken as the user, holds objects, .*\]\[\"id\"\]"),
        ([{"user": "u", "item": ["i", "j"]}], TOML, "'item', taken as the item, holds lists; write one line per"),
        ([{"user": "u", "item": "i", "time": {"$date": 5}}], TOML, r"'time', .* holds objects, .*\$date"),
        ([{"n": 1, "_source": {"user": "u", "item": "i"}}], TOML, "they lie inside '_source', .*jq -c "),
        ([{"user": "u", "uid": "v", "item": "i"}], TOML, 'could each be the user; .*layout = "json_lines"'),
        ([{}], TOML, "no column is known as the user; there is none"),
        ([{"user": {"id": "u"}, "item": "i"}], TOML + '[columns]\nuser = "user.id"', "inside 'user', .*jq -c '. +"),
        ([{"user": "u", "item": "i"}], TOML + '[columns]\nuser = "person"', "no column of the name 'person'"),
        ([{"user": "u", "item": "i", "time": 7}], TOML, "key 'time', taken as the time, holds numbers up to 7"),
        ([[1, 2]], TOML, "none of its first lines is a JSON object"),
        (["user,item", "u,i"], TOML, "holds no JSON objects, and JSON lines are"),
        ([json.dumps([{"user": "u", "item": "i"}])], TOML, "is one JSON array, and JSON lines are"),
        ([{"user": "u"}], TOML + 'separator = ","', "separator is for a table of text"),
        ([{"user": "u"}], TOML + 'encoding = "latin-1"', "encoding is for a table of text"),
        ([{"user": "u"}], TOML + 'columns = ["user", "item"]', "JSON lines have keys"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(tmp_path, rows, toml, message):
    (tmp_path / "x").mkdir()
    with pytest.raises(LandingError, match=message):
        read_rows(tmp_path, rows, toml)


def test_a_long_line_in_front_says_what_the_file_holds(tmp_path):
    row = {"user": "u", "item": "i", "timestamp": TIME}
    found = read_rows(tmp_path, [{**row, "text": "} { " * 100_000}, row])
    assert found.values("user_id", "item_id") == [("u", "i"), ("u", "i")]


def test_what_is_wrong_with_a_line_makes_it_a_reject(tmp_path):
    good = {"user": "u", "item": "i", "timestamp": TIME, "rating": 4}
    lines = [
        good,
        {**good, "user": ["u"]},
        {**good, "item": True},
        {**good, "user": " "},
        {**good, "timestamp": {"$date": 5}},
        {**good, "timestamp": "soon"},
        {**good, "rating": "four"},
        "{",
        "[1]",
        json.dumps(good)[:-1] + ', "deep": ' + "[" * 1000 + "]" * 1000 + "}",
        {**good, "user": "\ud800"},
        "",
        {**good, "user": 12.0, "item": " j "},
    ]
    found = read_rows(tmp_path, lines)
    assert found.values("user_id", "item_id") == [("u", "i"), ("12", "j")]
    assert found.reasons() == [
        (2, "user of a wrong type"),
        (3, "item of a wrong type"),
        (4, "user missing"),
        (5, "timestamp of a wrong type"),
        (6, "timestamp not a number or date"),
        (7, "rating not a number"),
        (8, "malformed JSON"),
        (9, "not an object"),
        (10, "nested too deeply"),
        (11, "user of a wrong type"),
    ]


texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=5).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(texts, texts, st.none() | st.floats(-9, 9), st.integers(TIME, 2 * TIME)), min_size=1))
def test_the_same_interactions_give_the_same_rows_as_a_table(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows")
    names = ("user", "item", "rating", "timestamp")
    as_json = read_rows(folder, [dict(zip(names, row, strict=True)) for row in rows])
    pq.write_table(
        pa.table({name: pa.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}),
        folder / "shop.parquet",
    )
    (unit,) = find_source(folder, "shop", SourceDescription("table", interactions=("shop.parquet",))).interactions
    as_parquet = read(unit, INTERACTIONS_SCHEMA)
    columns = ("line_number", "user_id", "item_id", "rating", "timestamp", "millisecond", "given_position")
    assert as_json.values(*columns) == as_parquet.values(*columns)
    assert as_json.rejects == as_parquet.rejects == []


# --- presets -------------------------------------------------------------------------------------------------


def test_yelp(tmp_path):
    review = {"review_id": "r", "user_id": "u", "business_id": "b", "stars": 4.0, "date": "2018-07-07 22:09:11"}
    found = read_rows(tmp_path, [review], 'preset = "yelp"', "yelp_academic_dataset_review.json")
    assert found.values("user_id", "item_id", "rating", "timestamp") == [("u", "b", 4.0, 1531001351)]


def test_goodreads(tmp_path):
    review = {
        "user_id": "u",
        "book_id": "7",
        "rating": 5,
        "date_added": "Fri Aug 25 13:55:02 -0700 2017",
        "read_at": "",
    }
    found = read_rows(tmp_path, [review], 'preset = "goodreads"', "goodreads_reviews_poetry.json.gz")
    assert found.values("user_id", "item_id", "rating", "timestamp") == [("u", "7", 5.0, 1503694502)]


def test_steam_is_read_from_python_literals(tmp_path):
    review = (
        "{u'username': u'it\\'s me', u'product_id': u'725280', u'hours': 2.5, u'date': u'2017-12-17', u'text': u''}"
    )
    found = read_rows(
        tmp_path, [review, "{u'username': __import__('os')}"], 'preset = "steam"', "steam_reviews.json.gz"
    )
    assert found.values("user_id", "item_id", "rating", "timestamp") == [("it's me", "725280", None, 1513468800)]
    assert found.reasons() == [(2, "malformed JSON")]


def test_google_maps(tmp_path):
    review = {"user_id": "101463350189962023774", "gmap_id": "0x7e:0x3b", "rating": 5, "time": 1463609664000}
    found = read_rows(tmp_path, [review], 'preset = "google_maps"', "review-Hawaii.json.gz")
    assert found.values("user_id", "rating", "timestamp") == [("101463350189962023774", 5.0, 1463609664)]


@pytest.mark.parametrize(
    ("preset", "name", "line", "row"),
    [
        ("gowalla", "loc-gowalla_totalCheckins.txt", "0\t2010-10-19T23:55:27Z\t30.2\t-97.7\t22847", ("0", "22847")),
        ("taobao", "UserBehavior.csv", "1,2268318,2520377,pv,1511544070", ("1", "2268318")),
        ("yoochoose", "yoochoose-clicks.dat", "9,2014-04-07T10:51:09.277Z,214536502,0", ("9", "214536502")),
    ],
)
def test_presets_of_tables_without_names(tmp_path, preset, name, line, row):
    found = read_text(tmp_path, f"{line}\n{line}\n", f'preset = "{preset}"', name)
    assert found.values("user_id", "item_id") == [row, row]
    assert found.counts[0].reading.order == "time"


def test_presets_in_latin_1(tmp_path):
    line = "470\tv1\tc1\tCaf\xe9 & Bar\t40.7\t-74.0\t-240\tTue Apr 03 18:00:09 +0000 2012\n"
    (tmp_path / "dataset_TSMC2014_NYC.txt").write_bytes(line.encode("latin-1"))
    (tmp_path / "source.toml").write_text('preset = "foursquare"')
    (unit,) = find_source(tmp_path, "shop").interactions
    assert read(unit, INTERACTIONS_SCHEMA).values("user_id", "item_id", "timestamp") == [("470", "v1", 1333476009)]
    book = '"User-ID";"ISBN";"Book-Rating"\n"276725";"0345;45104X";"0"\n"276727";"044\xe9";"5"\n'
    (tmp_path / "BX-Book-Ratings.csv").write_bytes(book.encode("latin-1"))
    (tmp_path / "source.toml").write_text('preset = "book_crossing"')
    (unit,) = find_source(tmp_path, "shop").interactions
    found = read(unit, INTERACTIONS_SCHEMA)
    assert found.values("user_id", "item_id", "rating") == [("276725", "0345;45104X", 0), ("276727", "044\xe9", 5)]


# --- rows that are left out ----------------------------------------------------------------------------------

EVENTS = [("u", "i", "view"), ("u", "j", "transaction"), ("v", "i", "view"), ("v", "k", " transaction ")]
KEEP = '[keep]\nevent = ["transaction", "refund"]\n'


def of_events(folder: Path, kind: str, toml: str = KEEP) -> Read:
    if kind == "parquet":
        names = ("user", "item", "event")
        table = {name: pa.array(values) for name, values in zip(names, zip(*EVENTS, strict=True), strict=True)}
        pq.write_table(pa.table({**table, "timestamp": [TIME] * 4}), folder / "events.parquet")
    elif kind == "json_lines":
        rows = [{"user": user, "item": item, "event": event, "timestamp": TIME} for user, item, event in EVENTS]
        (folder / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        rows = [f"{user},{item},{event},{TIME}\n" for user, item, event in EVENTS]
        (folder / "events.csv").write_text("user,item,event,timestamp\n" + "".join(rows))
    layout, ending = ("json_lines", "jsonl") if kind == "json_lines" else ("table", kind)
    (folder / "source.toml").write_text(f'layout = "{layout}"\ninteractions = ["events.{ending}"]\n{toml}')
    (unit,) = find_source(folder, "shop").interactions
    return read(unit, INTERACTIONS_SCHEMA)


@pytest.mark.parametrize("kind", ["csv", "parquet", "json_lines"])
def test_rows_are_left_out_by_the_value_of_a_column(tmp_path, kind):
    found = of_events(tmp_path, kind)
    assert found.values("user_id", "item_id") == [("u", "j"), ("v", "k")]
    first = 2 if kind == "csv" else 1
    assert found.values("line_number") == [(first + 1,), (first + 3,)]
    (counts,) = found.counts
    assert (counts.rows_read, counts.rows_rejected) == (2, 0)
    assert counts.reading.warnings == (
        "2 rows are left out, since only rows where event is 'refund' or 'transaction' are kept ([keep])",
    )
    assert "event" not in counts.reading.unused_columns


@pytest.mark.parametrize("kind", ["csv", "parquet", "json_lines"])
def test_where_all_rows_are_left_out_the_warning_names_what_there_is(tmp_path, kind):
    found = of_events(tmp_path, kind, '[keep]\nevent = ["purchase"]\n')
    assert found.rows == []
    (warning,) = found.counts[0].reading.warnings
    assert warning.startswith("all of its 4 rows are left out")
    assert "event is 'view'" in warning


@pytest.mark.parametrize("kind", ["csv", "parquet", "json_lines"])
def test_a_column_that_is_not_there_cannot_be_kept_by(tmp_path, kind):
    with pytest.raises(
        LandingError, match=r"events\.\w+, .*no column of the name 'evnt', given under \[keep\]; there are"
    ):
        of_events(tmp_path, kind, '[keep]\nevnt = ["transaction"]\n')


def test_names_further_on_are_found_where_rows_are_left_out(tmp_path):
    head = "user,item,event,timestamp\n"
    rows = [f"u{n},i{n},{('view', 'transaction')[n % 2]},{TIME}\n" for n in range(20)]
    (tmp_path / "source.toml").write_text('layout = "table"\ninteractions = ["events.csv"]\n' + KEEP)
    (tmp_path / "events.csv").write_text(head + "".join(rows) + head + "".join(rows))
    (unit,) = find_source(tmp_path, "shop").interactions
    names, left_out = read(unit, INTERACTIONS_SCHEMA).counts[0].reading.warnings
    assert names.startswith("the line of names stands 1 more times")
    assert left_out.startswith("20 rows are left out")
    (tmp_path / "events.csv").write_text(head + "".join(rows) + "item,user,event,timestamp\n" + "".join(rows))
    with pytest.raises(LandingError, match=r"events\.csv, line 22 names the columns again"):
        read(unit, INTERACTIONS_SCHEMA)


def test_what_is_left_out_is_not_judged(tmp_path):
    rows = ["u,i,view,no time", f"u,j,transaction,{TIME}", f'u,k,"trans\naction",{TIME}', "u,l,transaction,no time"]
    (tmp_path / "events.csv").write_text("user,item,event,timestamp\n" + "\n".join(rows) + "\n")
    (tmp_path / "source.toml").write_text('layout = "table"\ninteractions = ["events.csv"]\n' + KEEP)
    (unit,) = find_source(tmp_path, "shop").interactions
    found = read(unit, INTERACTIONS_SCHEMA)
    assert found.values("item_id", "line_number") == [("j", 3)]
    assert found.reasons() == [(6, "timestamp not a number or date")]


def test_retailrocket_with_its_purchases_alone(tmp_path):
    rows = ["1433221332117,1,view,10,", "1433221332118,1,transaction,11,7", "1433221332119,2,addtocart,12,"]
    text = "timestamp,visitorid,event,itemid,transactionid\n" + "\n".join(rows) + "\n"
    found = read_text(tmp_path, text, 'preset = "retailrocket"\n' + KEEP, "events.csv")
    assert found.values("user_id", "item_id", "millisecond") == [("1", "11", 118)]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('keep = "transaction"', "keep has to be a table"),
        ('[keep]\nevent = "transaction"', r"keep\.event has to be a list of the values"),
        ("[keep]\nevent = []", r"keep\.event has to be a list of the values"),
        ('encoding = "utf-16"', "encoding = 'utf-16' is not read"),
        ('encoding = "klingon"', "encoding = 'klingon' is not read"),
        ("encoding = 5", "encoding has to be a string"),
    ],
)
def test_faults_of_keep_and_encoding_are_refused(tmp_path, toml, message):
    (tmp_path / "source.toml").write_text(f'layout = "table"\n{toml}')
    with pytest.raises(LandingError, match=message):
        SourceDescription.from_toml(tmp_path / "source.toml")


def test_numbers_and_booleans_are_kept_by_as_they_are_written(tmp_path):
    (tmp_path / "events.csv").write_text("user,item,kind,ok\nu,i,1,True\nu,j,1.0,true\nu,k,2,True\nu,l,1,False\n")
    toml = 'layout = "table"\ninteractions = ["events.csv"]\n[keep]\nkind = [1]\nok = [true]\n'
    (tmp_path / "source.toml").write_text(toml)
    (unit,) = find_source(tmp_path, "shop").interactions
    assert read(unit, INTERACTIONS_SCHEMA).values("item_id") == [("i",), ("j",)]
