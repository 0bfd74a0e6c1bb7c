"""Tables of a user's own: the same rows from CSV, TSV and Parquet, and a reason for every line that is none."""

import csv
import gzip
import io
import itertools
import json
import math
import pickle
import random
import re
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

from ml.data.landing import file_lines as lines_module
from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import END_OF_TIME, INTERACTIONS_SCHEMA
from ml.data.sources import SourceDescription, find_source
from ml.data.sources import parquet as parquet_module
from ml.data.sources import table as table_module
from ml.data.sources.columns import find_columns
from ml.data.sources.timestamps import Timestamps

ORIGIN = ("source_file", "line_number", "line_digest")
TIME = 1_400_000_000
PLAIN = "user,item,rating,timestamp\n"


def read_text(
    folder: Path, text: str | bytes, name: str = "shop.csv", columns: dict | None = None, **said: object
) -> Read:
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    description = SourceDescription("table", interactions=(name,), columns=columns or {}, **said)
    return read_source(folder, "shop", INTERACTIONS_SCHEMA, description)


def read_arrow(folder: Path, table: pa.Table, **options: object) -> Read:
    pq.write_table(table, folder / "shop.parquet", **options)
    description = SourceDescription("table", interactions=("shop.parquet",))
    return read_source(folder, "shop", INTERACTIONS_SCHEMA, description)


def without_origin(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name not in ORIGIN} for row in rows]


def kept(identity: str) -> str:
    """A user or an item as it is kept: without white space around it, and without the .0 of a whole number."""
    return re.sub(r"^([0-9]+)\.0+$", r"\1", identity.strip())


# --- the same interactions in every format -------------------------------------------------------------------

identities = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff"), min_size=1, max_size=6
).filter(str.strip) | st.sampled_from(["1", "B000", "a b", 'a"b', "a,b", '"', "Ünï", "12.0", " x "])
interactions = st.lists(
    st.tuples(
        identities,
        identities,
        st.none() | st.integers(1, 5).map(float) | st.floats(allow_nan=False, allow_infinity=False, width=32),
        st.integers(10_000_000_000, END_OF_TIME * 1000 - 1),
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
    expected = [{**row, **{name: kept(row[name]) for name in ("user_id", "item_id")}} for row in expected]
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
    (b"u,i,5,1400000000,7", "wrong number of fields"),
    (b",i,5,1400000000", "user missing"),
    (b"  ,i,5,1400000000", "user missing"),
    (b"u,,5,1400000000", "item missing"),
    (b"u\x07,i,5,1400000000", "user with control characters"),
    ("u,i\x85i,5,1400000000".encode(), "item with control characters"),
    (b"u\xff,i,5,1400000000", "invalid UTF-8"),
    (b"u,i,five,1400000000", "rating not a number"),
    (b"u,i,1_0,1400000000", "rating not a number"),
    (b"u,i,1e999,1400000000", "rating not a number"),
    (b"u,i,inf,1400000000", "rating not a number"),
    ("u,i,٣,1400000000".encode(), "rating not a number"),
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
    (b'"u,i,5,1400000000', "malformed quotes"),
    (b'"u"x,i,5,1400000000', "malformed quotes"),
]
RIGHT = b"u,i,5,1400000000"


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
    data = b"\n".join([PLAIN.strip().encode(), *lines, b"last,i,5,1400000000", b""])
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        read = []
        for count in (together, 1000):
            patch.setattr(table_module, "_LINES_TOGETHER", count)
            read.append(read_text(Path(folder), data))
        patch.setattr(table_module.TableLines, "_add_sound", lambda *_: False)
        read.append(read_text(Path(folder), data))
    assert read[0] == read[1] == read[2]


def test_quoted_fields_hold_separators_and_quotes(tmp_path):
    read = read_text(tmp_path, PLAIN + '"a, b","say ""no""",4.5,"2014-02-26T01:02:03.5+01:00"\n')
    assert read.values("user_id", "item_id", "rating", "timestamp", "millisecond") == [
        ("a, b", 'say "no"', 4.5, int(datetime(2014, 2, 26, 0, 2, 3, tzinfo=UTC).timestamp()), 500)
    ]


def test_ratings_may_be_any_finite_number(tmp_path):
    ratings = ["-3", "0", "1e3", "+.5", "2.", "", " 4 ", "NaN"]
    read = read_text(tmp_path, PLAIN + "".join(f"u,i,{rating},1400000000\n" for rating in ratings))
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
        ('"user,item', {}, r"no column is known as the user"),
        ("196\t242\t3", {}, r"no column is known as the user"),
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
            "item": pa.array(["i", "i", "i", "i", None, "i\x85i", "i", "i", "i", "i"]),
            "rating": pa.array([5.0, 5, 5, 5, 5, 5, math.inf, None, 5, math.nan]),
            "timestamp": pa.array([TIME] * 7 + [None, -1, TIME + 100]),
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
        assert json.loads(read.rejects[0]["line"]) == {"user": None, "item": "i", "rating": 5.0, "timestamp": TIME}
        assert read.values("line_number", "rating", "timestamp") == [(1, 5.0, TIME), (10, None, TIME + 100)]
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
    # as a number it counts nanoseconds too
    kept = [(4,)] if kind in (pa.timestamp("ns"), pa.int64()) else []
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


# --- how the text is written ---------------------------------------------------------------------------------

ROWS = [("U000", "I004", 4.0, 1400000000), ("U000", "I018", 2.5, 1400086400), ("U001", "I002", 1.0, 1400172800)]
VALUES = ("user_id", "item_id", "rating", "timestamp")


def written(separator: str, header: str | None = None, rating: str = "{}") -> str:
    lines = [header or separator.join(["user_id", "item_id", "rating", "timestamp"])]
    lines += [separator.join([user, item, rating.format(value), str(time)]) for user, item, value, time in ROWS]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["shop.csv", "shop.tsv", "shop.inter"])
@pytest.mark.parametrize(
    ("separator", "described"),
    [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "pipe"), ("::", "::"), (" ", "space"), (", ", "comma")],
)
def test_separators_are_recognised(tmp_path, name, separator, described):
    read = read_text(tmp_path, written(separator), name)
    assert read.values(*VALUES) == ROWS
    assert read.counts[0].reading.separator == described
    assert read.rejects == []


@pytest.mark.parametrize("separator", ["~", "^|^", ";;", "#"])
def test_a_separator_can_be_named(tmp_path, separator):
    assert read_text(tmp_path, written(separator), separator=separator).values(*VALUES) == ROWS


def test_what_excel_says_of_the_separator_counts(tmp_path):
    read = read_text(tmp_path, "sep=;\n" + written(";"))
    assert read.values("line_number", *VALUES) == [(number, *row) for number, row in enumerate(ROWS, 3)]


def test_another_separator_in_a_name_does_not_mislead(tmp_path):
    header = "user_id;item_id;rating;timestamp;name, or what it is called"
    text = header + "\n" + "".join(f"{u};{i};{str(r).replace('.', ',')};{t};a, b\n" for u, i, r, t in ROWS)
    read = read_text(tmp_path, text)
    assert read.values(*VALUES) == ROWS  # the ratings have decimal commas
    assert read.counts[0].reading.unused_columns == ("name, or what it is called",)


@pytest.mark.parametrize("rating", ["1,234", "1.234,5", "1'000"])
def test_thousands_are_no_rating(tmp_path, rating):
    read = read_text(tmp_path, f"user;item;rating\nu;i;4,5\nu;i;{rating}\n")
    assert read.values("rating") == [(4.5,)]
    assert read.reasons() == [(3, "rating not a number")]


@pytest.mark.parametrize("compress", ["", ".gz"])
def test_a_file_without_names_is_read_by_position(tmp_path, compress):
    lines = "".join(f"{item},{user},{rating},{time}\n" for user, item, rating, time in ROWS)
    names = ("item", "user", "rating", "timestamp")
    assert read_text(tmp_path, lines, f"shop.csv{compress}", names=names).values(*VALUES) == ROWS
    # the names may be there all the same
    assert read_text(tmp_path, ",".join(names) + "\n" + lines, names=names).values(*VALUES) == ROWS
    with pytest.raises(LandingError, match="names 3 columns, and the line has 1 or 4"):
        read_text(tmp_path, lines, names=names[:3])


def test_a_first_line_that_is_an_interaction_is_not_taken_for_names(tmp_path):
    lines = "".join(f"{item},{user},{rating},{time}\n" for user, item, rating, time in ROWS)
    with pytest.raises(LandingError, match="looks like an interaction") as error:
        read_text(tmp_path, lines)
    assert 'columns = ["user", "item", "rating", "timestamp"]' in str(error.value)


def test_names_that_stand_again_are_no_row(tmp_path):
    read = read_text(tmp_path, "user_id,item_id\nuser_id,item_id\nu,i\nuser_id,item_id\nv,j\n")
    assert read.values("line_number", "user_id", "given_position") == [(3, "u", 1), (5, "v", 2)]
    assert "stands 2 more times" in read.counts[0].reading.warnings[-1]
    assert read.counts[0].rows_read == 2


def test_blanks_around_identities_are_dropped_and_said(tmp_path):
    read = read_text(tmp_path, "user_id, item_id, rating, timestamp\nU0 , I1, 4, 1400000000\nU0, I2, 4, 1400000000\n")
    assert read.values("user_id", "item_id") == [("U0", "I1"), ("U0", "I2")]
    assert "white space around 3 users or items" in read.counts[0].reading.warnings[0]
    # a quoted field behind a blank
    assert read_text(tmp_path, 'user, item, x\nu, "a, b", 1\n').values("item_id") == [("a, b",)]


def test_whole_numbers_written_as_floats_are_whole_numbers(tmp_path):
    read = read_text(tmp_path, "user,item,timestamp\n12.0,7,1400000000\n12,7.00,1400000001\n1.5,v1.0,1400000002\n")
    assert read.values("user_id", "item_id") == [("12", "7"), ("12", "7"), ("1.5", "v1.0")]
    floats = pa.table({"user": [12.0, None, 13.0], "item": ["7.0", "7", " 8"]})
    read = read_arrow(tmp_path, floats)
    assert read.values("user_id", "item_id") == [("12", "7"), ("13", "8")]
    assert read.reasons() == [(2, "user missing")]
    with pytest.raises(LandingError, match="write it as texts or whole numbers"):
        read_arrow(tmp_path, pa.table({"user": [1.5], "item": ["7"]}))


# --- quotes --------------------------------------------------------------------------------------------------

TEXT = "user_id,item_id,rating,timestamp,text\n"


def test_a_record_may_span_lines_none_of_which_is_a_row(tmp_path):
    text = TEXT + 'U0,I0,4.0,1400000000,"see\nU999,I1,5,1400000000,good"\nU1,I1,2,1400086400,fine\n'
    read = read_text(tmp_path, text)
    assert read.values("line_number", "user_id") == [(2, "U0"), (4, "U1")]
    assert read.rejects == []
    assert (read.counts[0].lines_read, read.counts[0].rows_read) == (4, 2)


def test_a_reject_of_several_lines_is_kept_whole(tmp_path):
    record = 'U0,I0,x,1400000000,"a\n\nb ""c""\n"'
    read = read_text(tmp_path, TEXT + "U1,I1,2,1400086400,fine\n" + record + "\nU2,I1,2,1400086400,fine\n")
    [reject] = read.rejects
    assert (reject["line_number"], reject["reason"]) == (3, "rating not a number")
    assert reject["line"] == record.encode()
    assert reject["byte_offset"] == len(TEXT) + len("U1,I1,2,1400086400,fine\n")
    assert read.values("line_number") == [(2,), (7,)]


def test_a_quote_that_does_not_end_costs_one_line(tmp_path):
    sound = "".join(f"U{n},I1,2,1400086400,fine\n" for n in range(300))
    read = read_text(tmp_path, TEXT + sound + 'U0,"I0,4.0,1400000000,x\n' + sound)
    assert read.reasons() == [(302, "malformed quotes")]
    assert len(read.rows) == 600


def test_a_very_long_field_is_read(tmp_path):
    text = "x" * 200_000
    read = read_text(tmp_path, TEXT + f'U0,I0,4.0,1400000000,"{text}\n{text}"\nU1,I1,2,1400086400,fine\n')
    assert read.values("user_id") == [("U0",), ("U1",)]


def test_quotes_escaped_by_backslashes_are_read(tmp_path):
    read = read_text(tmp_path, TEXT + 'U0,I0,4.0,1400000000,"say \\"no\\", or\nnot"\nU1,I1,2,1400086400,fine\n')
    assert read.values("user_id") == [("U0",), ("U1",)]
    assert "backslashes" in read.counts[0].reading.separator


def test_quotes_of_a_tab_separated_file_are_text_unless_they_are_balanced(tmp_path):
    header = "user\titem\ttime\n"
    lines = '"Weird Al"\ti\t1400000000\nu\t"Heroes\t1400000000\nu\t12" mix\t1400000000\n'
    read = read_text(tmp_path, header + lines, "shop.tsv")
    assert read.values("user_id", "item_id") == [('"Weird Al"', "i"), ("u", '"Heroes'), ("u", '12" mix')]
    assert read.counts[0].reading.separator == "tab, quotes are part of the text"
    balanced = '"a ""b"""\t"i\tj"\t1400000000\n'
    read = read_text(tmp_path, header + balanced.replace("\tj", ", j"), "shop.tsv")
    assert read.values("user_id", "item_id") == [('a "b"', "i, j")]


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["u1", "u 2", "u,3", 'u"4']),
            st.sampled_from(["i1", "i2"]),
            st.text(st.sampled_from('ab",\n '), max_size=12),
        ),
        min_size=1,
        max_size=12,
    ),
    chunk=st.sampled_from([1, 5, 16, 1 << 19]),
    together=st.integers(1, 5),
    ending=st.sampled_from(["\n", "\r\n"]),
    always=st.booleans(),
)
def test_records_are_those_of_the_csv_module(rows, chunk, together, ending, always):
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if always else csv.QUOTE_MINIMAL
    csv.writer(out, lineterminator=ending, quoting=quoting).writerows([["user", "item", "text"], *rows])
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "CHUNK_BYTES", chunk)
        patch.setattr(table_module, "_LINES_TOGETHER", together)
        read = read_text(Path(folder), out.getvalue())
    assert read.values("user_id", "item_id") == [(user, item) for user, item, _ in rows]
    assert read.rejects == []
    firsts = itertools.accumulate((1 + row[2].count("\n") for row in rows), initial=2)
    assert [row["line_number"] for row in read.rows] == list(firsts)[:-1]


# --- times in other ways of writing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "unit"),
    [
        (["1400000000", "1400086400"], "seconds"),
        (["1400000000000", "1400086400000"], "milliseconds"),
        (["1400000000000000", "1400086400000000"], "microseconds"),
        (["1400000000000000000", "1400086400000000000"], "nanoseconds"),
        (["1,400,000,000", "1,400,086,400"], "seconds"),
        (["2014-05-13 16:53:20 UTC", "2014-05-14 16:53:20 UTC"], "dates"),
        (["2014-05-13T16:53:20Z", "2014-05-14T18:53:20+0200"], "dates"),
        (["2014/05/13 16:53:20", "2014/5/14 16:53:20"], "dates"),
        (["Tue May 13 16:53:20 +0000 2014", "Wed May 14 16:53:20 +0000 2014"], "dates"),
        (["13 May 2014 16:53:20", "14 May 2014 16:53:20"], "dates"),
        (["May 13, 2014 16:53:20", "May 14, 2014 16:53:20"], "dates"),
        (["20140513165320", "20140514165320"], "%Y%m%d%H%M%S"),
    ],
)
def test_times_are_read_in_many_ways_of_writing(tmp_path, texts, unit):
    text = "user;item;time\n" + "".join(f"u;i;{text}\n" for text in texts)
    read = read_text(tmp_path, text)
    assert read.values("timestamp") == [(1400000000,), (1400086400,)]
    assert read.counts[0].reading.time_unit == unit


def test_days_of_the_calendar_are_read(tmp_path):
    for texts in (["20140513", "20140514"], ["2014/05/13", "2014/05/14"], ["05 13, 2014", "05 14, 2014"]):
        read = read_text(tmp_path, "user;item;date\n" + "".join(f"u;i;{text}\n" for text in texts))
        assert read.values("timestamp") == [(1399939200,), (1400025600,)]


@pytest.mark.parametrize("texts", [["1", "2", "3"], ["16203", "16204"], ["2014", "2015"]])
def test_numbers_that_are_no_times_are_refused_with_a_remedy(tmp_path, texts):
    text = "user,item,timestamp\n" + "".join(f"u,i,{text}\n" for text in texts)
    with pytest.raises(LandingError, match=r"'timestamp', taken as the time, holds numbers up to .*timestamp = false"):
        read_text(tmp_path, text)
    read = read_text(tmp_path, text, absent=("timestamp",))
    assert read.values("timestamp", "given_position") == [(None, place) for place in range(1, len(texts) + 1)]
    assert read.counts[0].reading.warnings == ()


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        ("%d.%m.%Y %H:%M:%S", "13.05.2014 16:53:20"),
        ("%m/%d/%Y %H:%M:%S", "05/13/2014 16:53:20"),
        ("seconds since 2014-05-13", "60800"),
        ("days since 1899-12-30", "41772.7037037037"),
        ("minutes since 2014-05-13 16:00", "53.333333"),
    ],
)
def test_the_source_can_say_how_times_are_written(tmp_path, time_format, text):
    read = read_text(tmp_path, f"user,item,time\nu,i,{text}\nu,i,x\n", time_format=time_format)
    assert read.values("timestamp") == [(1400000000,)]
    assert read.reasons() == [(3, "timestamp not a number or date")]
    assert read.counts[0].reading.time_unit == time_format


def test_a_date_with_two_meanings_is_a_reject_with_a_remedy(tmp_path):
    read = read_text(tmp_path, "user,item,date\nu,i,2014-05-13\nu,i,03/04/2014\nu,i,03.04.14\n")
    assert read.values("line_number") == [(2,)]
    assert all("time_format" in reject["detail"] for reject in read.rejects)


@settings(max_examples=100, deadline=None)
@given(moment=st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1)).map(lambda time: time.replace(microsecond=0)))
def test_every_way_of_writing_gives_the_same_moment(moment):
    seconds = int(moment.replace(tzinfo=UTC).timestamp())
    for pattern in ("%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%d %b %Y %H:%M:%S", "%a %b %d %H:%M:%S +0000 %Y"):
        assert Timestamps().read(moment.strftime(pattern)) == seconds * 1000
    day, numbers = Timestamps(), [moment.strftime("%Y%m%d%H%M%S")]
    assert day.learn(numbers) is None
    assert day.read(numbers[0]) == seconds * 1000


# --- which columns are named ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["event_time", "t_dat", "created_at", "order_date", "visit_time", "ts", "EventTime", "Review-Date", "purchasedAt"],
)
def test_more_names_of_times_are_known(tmp_path, name):
    read = read_text(tmp_path, f"customer_id,article_id,{name}\nu,i,1400000000\n")
    assert read.values(*VALUES) == [("u", "i", None, 1400000000)]
    assert read.counts[0].reading.columns == {"user": "customer_id", "item": "article_id", "timestamp": name}


@pytest.mark.parametrize(
    ("header", "value", "named"),
    [
        ("when_it_was", "x", "when_it_was"),
        ("WhenItWas", "x", "WhenItWas"),
        ("moment", "1400000000", "moment"),
        ("moment", "2014-05-13", "moment"),
    ],
)
def test_without_a_known_time_columns_that_look_like_one_are_named(tmp_path, header, value, named):
    read = read_text(tmp_path, f"user,item,{header}\nu,i,{value}\n")
    reading = read.counts[0].reading
    assert reading.order == "position"
    assert "the order of the lines counts" in reading.warnings[0]
    assert f'timestamp = "{named}"' in reading.warnings[0]
    read = read_arrow(tmp_path, pa.table({"user": ["u"], "item": ["i"], "when_it_was": [value]}))
    assert 'timestamp = "when_it_was"' in read.counts[0].reading.warnings[0]


def test_an_index_without_a_name_is_not_read(tmp_path):
    read = read_text(tmp_path, ",user,item\n0,u,i\n1,v,j\n")
    assert read.values("user_id", "item_id") == [("u", "i"), ("v", "j")]
    assert read.counts[0].reading.unused_columns == ("(no name)",)


def test_two_columns_of_one_name_have_a_remedy_that_works(tmp_path):
    text = "user_id,item_id,rating,rating\nu,i,4,1400000000\n"
    with pytest.raises(LandingError, match="2 columns of the name 'rating'") as error:
        read_text(tmp_path, text)
    assert 'columns = ["user_id", "item_id", "rating", "rating_4"]' in str(error.value)
    names = ("user_id", "item_id", "rating", "rating_4")
    (tmp_path / "shop.csv").write_text(text)
    read = read_text(tmp_path, text.replace("rating,rating", "rating,time"), names=(*names[:3], "time_of_day"))
    assert read.values("user_id", "rating") == [("u", 4.0)]
    assert read_text(tmp_path, text, names=names).values("line_number", "user_id", "rating") == [(2, "u", 4.0)]
    # a name that is not needed may stand twice
    assert read_text(tmp_path, "user,item,x,x\nu,i,1,2\n").values("user_id") == [("u",)]


@pytest.mark.parametrize(
    "name", ["item_id_list:token_seq", "history_item_id", "item_seq", "clickHistory", "hist_item_id"]
)
def test_columns_of_histories_are_refused(tmp_path, name):
    text = f"user_id\t{name}\titem_id\nu\ta b\tc\n"
    with pytest.raises(LandingError, match=r"holds histories, .*unused = \["):
        read_text(tmp_path, text, "shop.inter")
    plain = name.partition(":")[0]
    assert read_text(tmp_path, text, "shop.inter", unused=(plain,)).values("item_id") == [("c",)]
