"""Tables of a user's own: the same rows from CSV, TSV and Parquet, and a reason for every line that is none."""

import csv
import gzip
import io
import json
import math
import pickle
import random
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_reading import Read, read_source

from ml.data.lines import LandingError
from ml.data.reading import END_OF_TIME, INTERACTIONS_SCHEMA
from ml.data.sources import SourceDescription, find_source
from ml.data.sources import parquet as parquet_module
from ml.data.sources import table as table_module
from ml.data.sources.columns import find_columns
from ml.data.sources.timestamps import Timestamps

ORIGIN = ("source_file", "line_number", "line_digest")
PLAIN = "user,item,rating,timestamp\n"


def read_text(folder: Path, text: str | bytes, name: str = "shop.csv", columns: dict | None = None) -> Read:
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    description = SourceDescription("table", interactions=(name,), columns=columns or {})
    return read_source(folder, "shop", INTERACTIONS_SCHEMA, description)


def read_arrow(folder: Path, table: pa.Table, **options: object) -> Read:
    pq.write_table(table, folder / "shop.parquet", **options)
    description = SourceDescription("table", interactions=("shop.parquet",))
    return read_source(folder, "shop", INTERACTIONS_SCHEMA, description)


def without_origin(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name not in ORIGIN} for row in rows]


# --- the same interactions in every format -------------------------------------------------------------------

identities = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff"), min_size=1, max_size=6
).filter(str.strip) | st.sampled_from(["1", "B000", "a b", 'a"b', "a,b", '"', "Ünï", " x "])
interactions = st.lists(
    st.tuples(
        identities,
        identities,
        st.none() | st.integers(1, 5).map(float) | st.floats(allow_nan=False, allow_infinity=False, width=32),
        st.integers(1000, END_OF_TIME * 1000 - 1),
        st.none() | st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(
    rows=interactions,
    clock=st.sampled_from(["seconds", "milliseconds", "fractions", "dates", "times", "none"]),
    ending=st.sampled_from(["\n", "\r\n"]),
    chunk=st.integers(1, 5),
)
def test_the_same_interactions_give_the_same_rows_in_every_format(rows, clock, ending, chunk):
    if clock == "milliseconds":
        rows = [(user, item, rating, max(time, 100_000_000_000), flag) for user, item, rating, time, flag in rows]
    elif clock in ("seconds", "dates"):
        unit = 1000 if clock == "seconds" else 86_400_000
        rows = [(user, item, rating, max(1, time // unit) * unit, flag) for user, item, rating, time, flag in rows]
    times = [row[3] for row in rows]
    stamps = [datetime.fromtimestamp(time // 1000, UTC).replace(microsecond=time % 1000 * 1000) for time in times]
    written = {
        "seconds": [time // 1000 for time in times],
        "milliseconds": times,
        "fractions": [time / 1000 for time in times],
        "dates": [stamp.date() for stamp in stamps],
        "times": stamps,
    }.get(clock)
    texts = [stamp.isoformat() if isinstance(stamp, date) else f"{stamp!r}" for stamp in written or ()]
    names = ["userId", "item", "Rating", "verified", *(["timestamp"] if written else [])]
    lines = [
        [user, item, "" if rating is None else repr(rating), "" if flag is None else str(flag)]
        for user, item, rating, _, flag in rows
    ]
    if written:
        lines = [[*line, text] for line, text in zip(lines, texts, strict=True)]
    columns = {
        "userId": pa.array([row[0] for row in rows]),
        "item": pa.array([row[1] for row in rows]).dictionary_encode(),
        "Rating": pa.array([row[2] for row in rows], pa.float64()),
        "verified": pa.array([row[4] for row in rows], pa.bool_()),
    }
    if written:
        columns["timestamp"] = pa.array(written)

    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(table_module, "_LINES_TOGETHER", chunk)
        patch.setattr(parquet_module, "ROWS_PER_BATCH", chunk)
        read = []
        for name, separator in (("shop.csv", ","), ("shop.tsv", "\t"), ("shop.csv.gz", ",")):
            out = io.StringIO()
            csv.writer(out, delimiter=separator, lineterminator=ending).writerows([names, *lines])
            read.append(read_text(Path(folder), out.getvalue(), name))
        read.append(read_arrow(Path(folder), pa.table(columns)))

    expected = [
        {
            "user_id": user,
            "item_id": item,
            "rating": rating,
            "timestamp": time // 1000 if written else None,
            "millisecond": time % 1000 if written else 0,
            "verified": flag,
            "given_position": 0 if written else place,
            "given_split": None,
            "invalid_fields": [],
        }
        for place, (user, item, rating, time, flag) in enumerate(rows, 1)
    ]
    for one in read:
        assert one.rejects == []
        assert without_origin(one.rows) == expected
    assert [row["line_number"] for row in read[0].rows] == list(range(2, len(rows) + 2))
    assert [row["line_number"] for row in read[3].rows] == list(range(1, len(rows) + 1))
    same = len({json.dumps(row, default=str) for row in without_origin(read[3].rows)} if written else ())
    if same:
        assert len({row["line_digest"] for row in read[3].rows}) == same


# --- lines that are no rows ----------------------------------------------------------------------------------

WRONG = [
    (b"u,i,5", "wrong number of fields"),
    (b"u,i,5,100,7", "wrong number of fields"),
    (b",i,5,100", "user missing"),
    (b"  ,i,5,100", "user missing"),
    (b"u,,5,100", "item missing"),
    (b"u\x07,i,5,100", "user with control characters"),
    ("u,i\x85,5,100".encode(), "item with control characters"),
    (b"u\xff,i,5,100", "invalid UTF-8"),
    (b"u,i,five,100", "rating not a number"),
    (b"u,i,1_0,100", "rating not a number"),
    (b"u,i,1e999,100", "rating not a number"),
    (b"u,i,inf,100", "rating not a number"),
    ("u,i,٣,100".encode(), "rating not a number"),
    (b"u,i,5,", "timestamp missing"),
    (b"u,i,5,nan", "timestamp missing"),
    (b"u,i,5,yesterday", "timestamp not a number or date"),
    (b"u,i,5,2014-13-01", "timestamp not a number or date"),
    (b"u,i,5,1_00", "timestamp not a number or date"),
    ("u,i,5,١٢٣".encode(), "timestamp not a number or date"),
    (b"u,i,5,0", "timestamp out of range"),
    (b"u,i,5,-5", "timestamp out of range"),
    (b"u,i,5,4102444800", "timestamp out of range"),
    (b"u,i,5,4102444799.9999", "timestamp out of range"),
    (b"u,i,5,1393372800000", "timestamp out of range"),
    (b"u,i,5,1969-12-31", "timestamp out of range"),
    (b"u,i,5,2100-01-01", "timestamp out of range"),
    (b"u,i,5," + b"9" * 5000, "timestamp out of range"),
    (b"u,i,5,1e999", "timestamp out of range"),
    (b'"u,i,5,100', "malformed quotes"),
    (b'"u"x,i,5,100', "malformed quotes"),
]
RIGHT = b"u,i,5,100"


@pytest.mark.parametrize(("line", "reason"), WRONG)
def test_a_line_that_is_no_row_says_why(tmp_path, line, reason):
    assert reason in table_module.REASONS
    # between sound lines, on its own, and among so many that they are read together
    for before, after in ((1, 1), (1, 0), (150, 150)):
        data = b"\n".join([PLAIN.strip().encode(), *[RIGHT] * before, line, *[RIGHT] * after, b""])
        read = read_text(tmp_path, data)
        assert read.reasons() == [(before + 2, reason)]
        assert read.rejects[0]["line"] == line
        assert read.rejects[0]["byte_offset"] == len(PLAIN) + before * (len(RIGHT) + 1)
        assert len(read.rejects[0]["detail"]) < 200
        assert [row["line_number"] for row in read.rows] == [
            number for number in range(2, before + after + 3) if number != before + 2
        ]
        assert read.counts[0].lines_read == before + after + 2


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from([RIGHT, b'"u, v","i ""2""",,2014-02-26', *[line for line, _ in WRONG]]), max_size=30
    ),
    together=st.integers(1, 9),
)
def test_lines_read_together_and_one_by_one_are_the_same(lines, together):
    data = b"\n".join([PLAIN.strip().encode(), *lines, b"last,i,5,100", b""])
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        read = []
        for count in (together, 1000):
            patch.setattr(table_module, "_LINES_TOGETHER", count)
            read.append(read_text(Path(folder), data))
        patch.setattr(table_module.TableLines, "_add_sound", lambda self, lines, columns: False)
        read.append(read_text(Path(folder), data))
    assert read[0] == read[1] == read[2]


def test_quoted_fields_hold_separators_and_quotes(tmp_path):
    read = read_text(tmp_path, PLAIN + '"a, b","say ""no""",4.5,"2014-02-26T01:02:03.5+01:00"\n')
    assert read.values("user_id", "item_id", "rating", "timestamp", "millisecond") == [
        ("a, b", 'say "no"', 4.5, int(datetime(2014, 2, 26, 0, 2, 3, tzinfo=UTC).timestamp()), 500)
    ]


def test_a_quoted_line_ending_is_two_rejects_and_not_a_joined_row(tmp_path):
    read = read_text(tmp_path, PLAIN + 'a,"b\nc",5,100\nd,e,5,100\n')
    assert [reason for _, reason in read.reasons()] == ["malformed quotes", "wrong number of fields"]
    assert read.values("user_id") == [("d",)]


def test_ratings_may_be_any_finite_number(tmp_path):
    ratings = ["-3", "0", "1e3", "+.5", "2.", "", " 4 ", "NaN"]
    read = read_text(tmp_path, PLAIN + "".join(f"u,i,{rating},100\n" for rating in ratings))
    assert [row["rating"] for row in read.rows] == [-3, 0, 1000, 0.5, 2, None, 4, None]


def test_what_is_said_of_verification(tmp_path):
    said = {"true": True, "F": False, "1": True, "0": False, "Yes": True, "no": False, "": None}
    read = read_text(tmp_path, "user,item,verified\n" + "".join(f"u,i,{text}\n" for text in [*said, "perhaps"]))
    assert [row["verified"] for row in read.rows] == [*said.values(), None]
    assert [row["invalid_fields"] for row in read.rows] == [[]] * len(said) + [["verified"]]
    assert [row["given_position"] for row in read.rows] == list(range(1, len(said) + 2))


# --- times ---------------------------------------------------------------------------------------------------


def test_the_first_possible_number_says_what_numbers_count(tmp_path):
    read = read_text(tmp_path, PLAIN + "u,i,,0\nu,i,,1393372800123\nu,i,,1393372800\nu,i,,1393372801000.6\n")
    assert read.values("timestamp", "millisecond") == [(1393372800, 123), (1393372801, 1)]
    assert read.reasons() == [(2, "timestamp out of range"), (4, "timestamp out of range")]
    assert "milliseconds" in read.rejects[1]["detail"]
    read = read_text(tmp_path, PLAIN + "u,i,,1393372800.25\nu,i,,1393372800123\nu,i,,2014-02-26\n")
    assert read.values("timestamp", "millisecond") == [(1393372800, 250), (1393372800, 0)]
    assert "seconds" in read.rejects[0]["detail"]


def test_a_rejected_line_does_not_say_what_numbers_count(tmp_path):
    text = PLAIN + "u,,,1393372800123\nu,i,,1393372800\n"
    assert read_text(tmp_path, text).values("timestamp") == [(1393372800,)]
    table = pa.table({"user": ["u", "u"], "item": ["", "i"], "timestamp": [1393372800123, 1393372800]})
    assert read_arrow(tmp_path, table).values("timestamp") == [(1393372800,)]


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(
        st.integers(-10, END_OF_TIME * 1100).map(str)
        | st.floats(0, 5e12).map(repr)
        | st.datetimes(datetime(1960, 1, 1), datetime(2110, 1, 1)).map(str)
        | st.dates().map(str)
        | st.sampled_from(["", "nan", "20140226", "20140226T101112", "2014-02-26T10:11Z", "1012011412", "x", "1e5"]),
        min_size=1,
        max_size=4,
    )
)
def test_timestamps_together_are_those_one_by_one(texts):
    one_by_one, together = Timestamps(), Timestamps()
    read = [one_by_one.read(text) for text in texts]
    milliseconds = together.read_all(texts)
    if milliseconds is not None:
        assert milliseconds.tolist() == read
        assert together._unit == one_by_one._unit
    else:
        assert together._unit is None
        assert any(not isinstance(value, int) for value in read) or any(not text.isdigit() for text in texts)


# --- which column is what ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
        ["userId", "movieId", "rating", "timestamp"],
        ["reviewerID", "asin", "overall", "unixReviewTime"],
        ["USER", " Item ", "Stars", "Date"],
        ["uid", "product_id", "score", "time"],
        ["user_id", "parent_asin", "rating", "timestamp"],
    ],
)
def test_usual_names_are_recognised(names):
    assert find_columns(names, {}, "shop.csv, line 1") == {"user": 0, "item": 1, "rating": 2, "timestamp": 3}


def test_names_can_be_given(tmp_path):
    columns = {"user": "customer", "item": "sku", "timestamp": "bought_at", "rating": "stars"}
    text = "\ufeffsku;stars;customer;bought_at;user\nS;3;C;2014-02-26;else\n"
    read = read_text(tmp_path, text, columns=columns)
    assert read.values("user_id", "item_id", "rating", "timestamp") == [("C", "S", 3.0, 1393372800)]


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("a,b", {}, r"shop\.csv, line 1: no column is known as the user; there are 'a', 'b'; .*source\.toml"),
        ("user,uid,item", {}, r"line 1: 'user', 'uid' could each be the user; say which"),
        ("user,item", {"timestamp": "when"}, r"line 1: no column of the name 'when', given for the timestamp"),
        ("user,item,item", {"item": "item"}, r"line 1: 2 columns of the name 'item'"),
        ('"user,item', {}, r"line 1 should name the columns: malformed quotes"),
        ("196\t242\t3", {}, r"no column is known as the user; .*first line of names"),
    ],
)
def test_columns_that_are_not_known_are_an_error(tmp_path, header, columns, message):
    with pytest.raises(LandingError, match=message):
        read_text(tmp_path, f"{header}\n1,2\n", columns=columns)


def test_a_header_that_is_not_text_is_an_error(tmp_path):
    with pytest.raises(LandingError, match=r"shop\.csv, line 1 is not UTF-8 text"):
        read_text(tmp_path, b"us\xe9r,item\n1,2\n")


def test_recbole_files_are_read(tmp_path):
    text = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n"
    (tmp_path / "ml-small.inter.gz").write_bytes(gzip.compress(text.encode()))
    read = read_source(tmp_path, "ml-small", INTERACTIONS_SCHEMA)
    assert read.values("user_id", "item_id", "rating", "timestamp", "millisecond") == [
        ("196", "242", 3.0, 881250949, 0)
    ]


# --- Parquet -------------------------------------------------------------------------------------------------


def test_rows_of_parquet_that_are_no_rows_say_why(tmp_path):
    table = pa.table(
        {
            "user": pa.array(["u", None, " ", "u\x01", "u", "u", "u", "u", "u", "u"]),
            "item": pa.array(["i", "i", "i", "i", None, "i\x85", "i", "i", "i", "i"]),
            "rating": pa.array([5.0, 5, 5, 5, 5, 5, math.inf, None, 5, math.nan]),
            "timestamp": pa.array([100, 100, 100, 100, 100, 100, 100, None, -1, 200]),
            "other": pa.array(range(10)),
        }
    )
    for size in (1, 3, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parquet_module, "ROWS_PER_BATCH", size)
            read = read_arrow(tmp_path, table)
        assert read.reasons() == [
            (2, "user missing"),
            (3, "user missing"),
            (4, "user with control characters"),
            (5, "item missing"),
            (6, "item with control characters"),
            (7, "rating not a number"),
            (8, "timestamp missing"),
            (9, "timestamp out of range"),
        ]
        assert {reason for _, reason in read.reasons()} <= set(parquet_module.REASONS)
        assert json.loads(read.rejects[0]["line"]) == {"user": None, "item": "i", "rating": 5.0, "timestamp": 100}
        assert read.values("line_number", "rating", "timestamp") == [(1, 5.0, 100), (10, None, 200)]
        counts = read.counts[0]
        assert (counts.lines_read, counts.rows_read, counts.bytes) == (
            10,
            10,
            (tmp_path / "shop.parquet").stat().st_size,
        )


def test_positions_of_parquet_count_kept_rows_over_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_module, "ROWS_PER_BATCH", 2)
    items = pa.array([7, 8, 9, None, 2**63], pa.uint64())
    read = read_arrow(tmp_path, pa.table({"user": [1, 2, None, 4, 5], "item": items}))
    assert read.values("user_id", "item_id", "given_position") == [
        ("1", "7", 1),
        ("2", "8", 2),
        ("5", "9223372036854775808", 3),
    ]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1_393_372_800_123, 1_393_372_800_124]),
        pa.array([1_393_372_800.1234, 1_393_372_800.124]),
        pa.array([1_393_372_800_123, 1_393_372_800_124], pa.timestamp("ms")),
        pa.array([1_393_372_800_123_400, 1_393_372_800_123_500], pa.timestamp("us", "Europe/Berlin")),
        pa.array([1_393_372_800_122_500_000, 1_393_372_800_124_499_999], pa.timestamp("ns")),
        pa.array(["2014-02-26 00:00:00.123", "2014-02-26T01:00:00.124+01:00"]),
        pa.array(["2014-02-26 00:00:00.123", "2014-02-26T01:00:00.124+01:00"], pa.large_string()),
    ],
    ids=lambda times: str(times.type),
)
def test_times_of_parquet(tmp_path, times):
    read = read_arrow(tmp_path, pa.table({"user": ["u", "u"], "item": ["i", "i"], "time": times}))
    assert read.values("timestamp", "millisecond") == [(1393372800, 123), (1393372800, 124)]


@pytest.mark.parametrize("kind", [pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"), pa.int64()], ids=str)
def test_times_far_away_are_out_of_range(tmp_path, kind):
    times = pa.array([-(2**63), -1, 0, 2**60], pa.int64()).cast(kind)
    read = read_arrow(tmp_path, pa.table({"user": ["u"] * 4, "item": ["i"] * 4, "time": times}))
    kept = [(4,)] if kind == pa.timestamp("ns") else []
    assert read.values("line_number") == kept
    assert [reason for _, reason in read.reasons()] == ["timestamp out of range"] * (4 - len(kept))


def test_times_of_parquet_may_be_in_a_zone_that_is_not_known(tmp_path):
    times = pa.array([1_393_372_800_123, 0], pa.timestamp("ms", "Nowhere/Near"))
    read = read_arrow(tmp_path, pa.table({"user": ["u"] * 2, "item": ["i"] * 2, "time": times}))
    assert read.values("timestamp", "millisecond") == [(1393372800, 123)]
    assert read.reasons() == [(2, "timestamp out of range")]


def test_texts_that_are_not_utf_8_are_rejected(tmp_path):
    broken = pa.array([b"u", b"\xff", None]).view(pa.string())
    read = read_arrow(tmp_path, pa.table({"user": broken, "item": ["i"] * 3}))
    assert read.reasons() == [(2, "invalid UTF-8"), (3, "user missing")]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": [1.5], "item": ["i"]}, r"column 'user', the user, is of type double; write it as texts or whole"),
        ({"user": ["u"], "item": [b"i"]}, r"column 'item', the item, is of type binary"),
        ({"user": ["u"], "item": ["i"], "rating": [[1]]}, r"column 'rating', the rating, is of type list"),
        ({"user": ["u"], "item": ["i"], "time": [True]}, r"column 'time', the timestamp, is of type bool"),
        ({"user": ["u"], "item": ["i"], "verified": [date(2014, 1, 1)]}, r"the verified, is of type date32"),
        ({"who": ["u"], "item": ["i"]}, r"shop\.parquet, its columns: no column is known as the user"),
        ({"user": pa.array([], pa.string()), "item": pa.array([], pa.string())}, r"shop\.parquet holds no row"),
    ],
)
def test_parquet_that_cannot_be_read_is_an_error(tmp_path, columns, message):
    with pytest.raises(LandingError, match=message):
        read_arrow(tmp_path, pa.table(columns))


def test_parquet_that_is_damaged_is_an_error(tmp_path):
    table = pa.table({"user": np.arange(50_000).astype(str), "item": np.arange(50_000)})
    read_arrow(tmp_path, table, compression="zstd", data_page_version="2.0")
    path = tmp_path / "shop.parquet"
    (unit,) = find_source(tmp_path, "shop").interactions
    data = path.read_bytes()
    noise = random.Random(0).randbytes(len(data) // 2)
    for broken in (b"", b"user,item\n1,2\n", data[: len(data) // 2], b"PAR1" + noise + data[len(noise) + 4 :]):
        path.write_bytes(broken)
        with pytest.raises(LandingError, match=r"shop\.parquet cannot be read as Parquet: .*download it again"):
            unit.read(unit.files, type("Nothing", (), {"rows": lambda *_: None, "rejects": lambda *_: None})())
    path.unlink()
    with pytest.raises(LandingError, match=r"shop\.parquet does not exist"):
        unit.read(unit.files, None)


def test_units_can_be_sent_to_another_process(tmp_path):
    pq.write_table(pa.table({"user": ["u"], "item": ["i"]}), tmp_path / "one.parquet")
    (tmp_path / "two.csv").write_text("user,item\n1,2\n")
    for name in ("one", "two"):
        (unit,) = find_source(tmp_path, name).interactions
        assert pickle.loads(pickle.dumps(unit)).files == unit.files
