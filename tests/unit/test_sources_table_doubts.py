"""Tables that are nearly what they should be: recognised, warned of, or refused in one sentence with the remedy."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_reading import Read, read, read_source

from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import INTERACTIONS_SCHEMA
from ml.data.sources import SourceDescription, find_source

TIME = 1_400_000_000
NAMES = "user_id,item_id,rating,timestamp\n"
ROWS = [f"u{n % 4},i{n % 7},{1 + n % 5},{TIME + n}\n" for n in range(28)]


def read_table(folder: Path, text: str | bytes, name: str = "shop.csv", **said: object) -> Read:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_source(folder, "shop", INTERACTIONS_SCHEMA, SourceDescription("table", interactions=(name,), **said))


def read_columns(folder: Path, columns: dict, **said: object) -> Read:
    pq.write_table(pa.table(columns), folder / "shop.parquet")
    description = SourceDescription("table", interactions=("shop.parquet",), **said)
    return read_source(folder, "shop", INTERACTIONS_SCHEMA, description)


def warnings_of(found: Read) -> tuple[str, ...]:
    return found.counts[0].reading.warnings


# --- how a file is written -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("separator", "written"),
    [("~", "~"), ("^", "^"), (":", ":"), ("#", "#"), ("§", "§"), ("\x01", r"\u0001")],
)
def test_a_separator_that_is_not_recognised_is_named_and_read_when_it_is_said(tmp_path, separator, written):
    text = (NAMES + "".join(ROWS)).replace(",", separator)
    with pytest.raises(LandingError) as error:
        read_table(tmp_path, text)
    assert f'put layout = "table" and separator = "{written}" into source.toml' in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'shop.csv'}, line 1: none of the separators")
    (tmp_path / "source.toml").write_text(f'layout = "table"\ninteractions = ["shop.csv"]\nseparator = "{written}"\n')
    (unit,) = find_source(tmp_path, "shop", None).interactions
    assert len(read(unit, INTERACTIONS_SCHEMA).rows) == len(ROWS)


REFUSED = {
    "another separator is said": (
        NAMES + "".join(ROWS),
        {"separator": ";"},
        "separator = ';' does not divide .*, but ',' does",
    ),
    "lines stand in quotes": (
        "".join(f'"{line.strip()}"\n' for line in [NAMES, *ROWS]),
        {},
        "line 1 stands in quotes as a whole; .*sed",
    ),
    "a title in front": (
        "Orders of 2020\n\n" + NAMES + "".join(ROWS),
        {},
        "line 1 is not the line of names; line 3 looks",
    ),
    "comments in front": (
        "# made by hand\n" + NAMES + "".join(ROWS),
        {},
        "line 2 looks like it: take the lines in front",
    ),
    "an index without a name": (
        NAMES + "".join(f"{n},{row}" for n, row in enumerate(ROWS)),
        {},
        r'names 4 columns, and the lines below it have 5 fields each; .*columns = \["index", "user_id", "item_id"',
    ),
    "a separator at the end of rows": (
        NAMES + "".join(row.replace("\n", ",\n") for row in ROWS),
        {},
        r'have 5 fields each; .*"timestamp", "unused"\]',
    ),
    "JSON lines": ('{"user": "u", "item": "i"}\n', {}, 'line 1 is JSON, .*layout = "json_lines"'),
    "clocks without days": (
        "user,item,time\n" + "".join(f"u{n},i,10:{n:02}:00\n" for n in range(9)),
        {},
        "holds times of a day without the day, .*name a column of dates",
    ),
    "a byte order mark alone": ("\ufeff", {}, "line 1 holds no names of columns"),
    "a history of clicks": ("user,item,click_history\nu,i,a b c\n", {}, "'click_history' holds histories"),
    "Latin-1 in the names": ("user,item,gr\xf6\xdfe\n".encode("latin-1"), {}, "line 1 is not UTF-8 text .*encoding = "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_remedy(tmp_path, name):
    text, said, message = REFUSED[name]
    with pytest.raises(LandingError, match=message) as error:
        read_table(tmp_path, text, **said)
    assert str(error.value).startswith(str(tmp_path / "shop.csv"))


def test_byte_order_marks_where_files_were_put_together_are_dropped(tmp_path):
    # UTF-8 with a mark of its own twice in front, and again in front of the second file
    text = "\ufeff\ufeff" + NAMES + "".join(ROWS) + "\ufeff" + NAMES + "\ufeffu9,i9,5,1400000000\n"
    found = read_table(tmp_path, text)
    assert len(found.rows) == len(ROWS) + 1
    assert found.rows[-1]["user_id"] == "u9"
    assert found.rejects == []
    assert warnings_of(found) == ("the line of names stands 1 more times in the file; it is no row",)


@pytest.mark.parametrize(
    ("names", "again"),
    [
        (NAMES, "User_ID,Item_ID,Rating,Timestamp\n"),
        (NAMES, '"user_id","item_id","rating","timestamp"\n'),
        (NAMES, "customer,product,stars,time\n"),
        ("user_id,item_id\n", "USER_ID,ITEM_ID\n"),
        ("user,item\n", "User,Item\n"),
        ("user,item\n", "user_id,item_id\n"),
    ],
)
def test_a_line_of_names_is_no_row_however_it_is_written_again(tmp_path, names, again):
    width = names.count(",") + 1
    rows = [",".join(row.strip().split(",")[:width]) + "\n" for row in ROWS]
    found = read_table(tmp_path, names + "".join(rows) + again + "".join(rows))
    assert len(found.rows) == 2 * len(ROWS)
    assert found.rejects == []
    assert "the line of names stands 1 more times in the file; it is no row" in warnings_of(found)


@pytest.mark.parametrize(
    ("names", "again", "row"),
    [
        (NAMES, "item_id,user_id,rating,timestamp\n", f"i1,u1,5,{TIME}\n"),
        ("user_id,item_id\n", "item_id,user_id\n", "i1,u1\n"),
        (NAMES, "product,customer,timestamp,rating\n", f"i1,u1,{TIME},5\n"),
    ],
)
def test_columns_in_another_order_further_on_are_refused_with_the_line(tmp_path, names, again, row):
    # without it, users and items of all that follows would be swapped
    width = names.count(",") + 1
    rows = [",".join(line.strip().split(",")[:width]) + "\n" for line in ROWS]
    with pytest.raises(LandingError, match=r"shop\.csv, line 30 names the columns again, .*split the file there"):
        read_table(tmp_path, names + "".join(rows) + again + row)


def test_a_user_of_the_name_of_a_column_is_a_user(tmp_path):
    found = read_table(tmp_path, f"user,item,timestamp\nuser,i1,{TIME}\nlogin,title,{TIME}\n")
    assert found.values("user_id", "item_id") == [("user", "i1"), ("login", "title")]


def test_other_encodings_are_read_where_they_are_said(tmp_path):
    text = f"user,item,größe,timestamp\nJürgen,Café,ß,{TIME}\n"
    for encoding in ("latin-1", "cp1252", "iso8859-15", "mac-roman"):
        found = read_table(tmp_path, text.encode(encoding), encoding=encoding)
        assert found.values("user_id", "item_id") == [("Jürgen", "Café")]
    japanese = f"user,item,timestamp\n表,ソ,{TIME}\n"
    assert read_table(tmp_path, japanese.encode("shift-jis"), encoding="shift-jis").values("item_id") == [("ソ",)]
    # a byte that cp1252 does not have
    found = read_table(tmp_path, b"user,item\nu\x81,i\nv,j\n", encoding="cp1252")
    assert (found.values("user_id"), found.reasons()) == ([("v",)], [(2, "invalid UTF-8")])


# --- times ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("201405131653", 1399999980),
        ("2014051316", 1399996800),
        ("20140513", 1399939200),
        ("20140513165320", 1400000000),
    ],
)
def test_days_of_the_calendar_written_as_numbers_are_dates(tmp_path, text, seconds):
    # as milliseconds, the first would lie in 1976, and as seconds, the second in 2033
    assert read_table(tmp_path, f"user,item,timestamp\nu,i,{text}\n").values("timestamp") == [(seconds,)]
    found = read_columns(tmp_path, {"user": ["u"], "item": ["i"], "timestamp": [int(text)]})
    assert found.values("timestamp") == [(seconds,)]


@pytest.mark.parametrize("placeholder", ["0", "99999999", "-1", "20140230"])
def test_a_placeholder_among_dates_does_not_make_them_seconds(tmp_path, placeholder):
    found = read_table(tmp_path, f"user,item,timestamp\nu,h,{placeholder}\nu,i,20140513\nu,j,20140514\nu,k,20140515\n")
    assert found.values("item_id", "timestamp") == [(item, 1399939200 + 86400 * n) for n, item in enumerate("ijk")]
    assert [number for number, _ in found.reasons()] == [2]


def test_floats_of_32_bits_are_warned_of(tmp_path):
    users = pa.array([16_777_217.0, 3.0, None], pa.float32())
    found = read_columns(tmp_path, {"user": users, "item": ["i"] * 3, "timestamp": pa.array([1.4e9] * 3, pa.float32())})
    assert found.values("user_id") == [("16777216",), ("3",)]
    told = warnings_of(found)
    assert "the times are floats of 32 bits, which are exact to some two minutes only" in told


def test_large_floats_are_warned_of_as_identities(tmp_path):
    found = read_columns(tmp_path, {"user": pa.array([2.0**60, 3.0]), "item": ["i", "j"]}, absent=("timestamp",))
    assert any("'1152921504606846976', so that different ones became one" in text for text in warnings_of(found))


# --- users and items -----------------------------------------------------------------------------------------

ODD = {
    "a word for a missing value": (["NULL", "u1", "NULL"], "2 users or items are 'NULL', a word for a missing value"),
    "rounded by a spreadsheet": (
        ["1.23457E+18", "u1", "1.2E+12"],
        "2 users or items are numbers that may have been rounded",
    ),
    "invisible characters": (
        ["u1\u200b", "u1", "\u200bu1"],
        r"2 users or items hold invisible characters, as 'u1\u200b'",
    ),
    "decomposed accents": (["e\u0301", "é", "u"], "1 users or items write accents as separate characters"),
    "single quotes": (["'u1'", "'u2'", "u3"], '''2 users or items stand in single quotes, as "'u1'"'''),
    "lists": (["['a'; 'b']", "[1; 2]", "u"], "2 users or items are lists, as "),
}


@pytest.mark.parametrize("kind", ["csv", "parquet", "json_lines"])
@pytest.mark.parametrize("name", ODD)
def test_users_that_look_like_a_mistake_are_counted(tmp_path, name, kind):
    users, message = ODD[name]
    if kind == "parquet":
        found = read_columns(tmp_path, {"user": users, "item": ["i"] * 3, "timestamp": [TIME] * 3})
    elif kind == "csv":
        found = read_table(tmp_path, "user,item,timestamp\n" + "".join(f"{user},i,{TIME}\n" for user in users))
    else:
        rows = [f'{{"user": "{user}", "item": "i", "timestamp": {TIME}}}\n' for user in users]
        (tmp_path / "shop.jsonl").write_text("".join(rows))
        found = read_source(tmp_path, "shop", INTERACTIONS_SCHEMA, SourceDescription("json_lines"))
    # they are kept as they are
    assert found.values("user_id") == [(user,) for user in users]
    (warning,) = warnings_of(found)
    assert message.replace("\u200b", "\\u200b") in warning


def test_decimals_without_a_fraction_are_whole_numbers(tmp_path):
    users = pa.array([Decimal("12.00"), Decimal("345678901234567890123.00"), None], pa.decimal128(38, 2))
    found = read_columns(tmp_path, {"user": users, "item": ["i"] * 3, "timestamp": [TIME] * 3})
    assert found.values("user_id") == [("12",), ("345678901234567890123",)]
    assert found.reasons() == [(3, "user missing")]
    with pytest.raises(LandingError, match=r"is of type decimal128\(4, 2\); write it as texts or whole numbers"):
        read_columns(tmp_path, {"user": pa.array([Decimal("12.50")], pa.decimal128(4, 2)), "item": ["i"]})


@pytest.mark.parametrize("rating", ["NULL", r"\N", "None", "N/A", "nan", ""])
def test_a_word_for_a_missing_value_is_no_rating(tmp_path, rating):
    found = read_table(tmp_path, f"user,item,rating,timestamp\nu,i,{rating},{TIME}\nu,j,4,{TIME}\n")
    assert found.values("item_id", "rating") == [("i", None), ("j", 4.0)]


def test_negative_whole_numbers_lose_their_point_too(tmp_path):
    assert read_table(tmp_path, f"user,item,timestamp\n-5.0,-6,{TIME}\n").values("user_id", "item_id") == [("-5", "-6")]
    found = read_columns(tmp_path, {"user": ["-5.0"], "item": [-6], "timestamp": [TIME]})
    assert found.values("user_id", "item_id") == [("-5", "-6")]


# --- Parquet -------------------------------------------------------------------------------------------------


def test_names_by_position_are_refused_for_parquet(tmp_path):
    with pytest.raises(LandingError, match=r"shop\.parquet is Parquet, which holds the names of its columns"):
        read_columns(tmp_path, {"user": ["u"], "item": ["i"]}, names=("item", "user"))


def test_what_says_nothing_of_parquet_is_told(tmp_path):
    found = read_columns(
        tmp_path, {"user": ["u"], "item": ["i"], "timestamp": [TIME]}, separator=";", encoding="latin-1"
    )
    assert [text.partition(" is for")[0] for text in warnings_of(found)] == ["separator", "encoding"]


def test_a_part_without_rows_has_the_columns_that_it_names(tmp_path):
    folder = tmp_path / "shop.parquet"
    folder.mkdir()
    schema = pa.schema([("user_id", pa.string()), ("item_id", pa.string()), ("timestamp", pa.int64())])
    pq.write_table(pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [TIME]}), folder / "a.parquet")
    pq.write_table(schema.empty_table(), folder / "b.parquet")
    first, second = [
        read(unit, INTERACTIONS_SCHEMA).counts[0].reading for unit in find_source(tmp_path, "shop").interactions
    ]
    assert second.columns == first.columns
    assert (second.order, second.warnings) == ("time", ("it holds no row",))
