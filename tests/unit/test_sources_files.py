"""Which files the names of a source stand for: patterns, folders of Parquet, partitions, and presets."""

import string
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_reading import Read, read

from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import INTERACTIONS_SCHEMA
from ml.data.sources import SourceDescription, datasets_in, find_source
from ml.data.sources.partitions import partition_columns
from ml.data.sources.patterns import natural_key
from ml.data.sources.presets import PRESETS

TABLE = "user,item\n"


def write(folder: Path, name: str, text: str = TABLE + "u,i\n") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_parquet(folder: Path, name: str, columns: dict) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def described(folder: Path, toml: str) -> SourceDescription:
    (folder / "source.toml").write_text(toml)
    return SourceDescription.from_toml(folder / "source.toml")


def read_all(folder: Path, toml: str | None = None, dataset: str = "shop") -> list[Read]:
    if toml is not None:
        (folder / "source.toml").write_text(toml)
    return [read(unit, INTERACTIONS_SCHEMA) for unit in find_source(folder, dataset).interactions]


def names(folder: Path, *interactions: str) -> list[str]:
    found = find_source(folder, "shop", SourceDescription("table", interactions=interactions))
    return [file.name for file in found.files]


# --- names and patterns --------------------------------------------------------------------------------------


def test_files_keep_the_order_given_and_patterns_are_in_natural_order(tmp_path):
    for name in ("part-10.csv", "part-2.csv", "part-1.csv", "old.csv", "new.csv"):
        write(tmp_path, name)
    assert names(tmp_path, "old.csv", "new.csv") == ["old.csv", "new.csv"]
    assert names(tmp_path, "part-*.csv") == ["part-1.csv", "part-2.csv", "part-10.csv"]
    assert names(tmp_path, "part-10.csv", "part-*.csv") == ["part-10.csv", "part-1.csv", "part-2.csv"]


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=2, unique=True))
def test_numbers_in_names_sort_as_numbers(numbers):
    low, high = sorted(numbers)
    assert natural_key(f"a{low}.csv") < natural_key(f"a{high}.csv")
    assert natural_key(f"{low}/x") < natural_key(f"{high}/a")


@given(st.lists(st.text(string.ascii_letters + string.digits + "-_./² ٣", max_size=8), max_size=6))
def test_any_names_can_be_sorted(given_names):
    keys = {name: natural_key(name) for name in given_names}
    # a total order: it does not depend on the order in which a folder is listed
    assert sorted(keys, key=keys.get) == sorted(sorted(keys), key=keys.get)
    assert len(set(map(tuple, keys.values()))) == len(keys)


@pytest.mark.parametrize("name", ["orders_[2020].csv", "what?.csv", "a*b.csv"])
def test_a_file_of_exactly_that_name_is_no_pattern(tmp_path, name):
    write(tmp_path, name)
    write(tmp_path, "orders_2.csv")
    write(tmp_path, "what1.csv")
    write(tmp_path, "a1b.csv")
    assert names(tmp_path, name) == [name]


def test_brackets_are_a_pattern_where_there_is_no_such_file(tmp_path):
    for name in ("orders_1.csv", "orders_2.csv", "orders_x.csv"):
        write(tmp_path, name)
    assert names(tmp_path, "orders_[0-9].csv") == ["orders_1.csv", "orders_2.csv"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("***", r'names \*\*\*, which is no pattern: "\*\*" stands alone between slashes'),
        ("a**.csv", r"names a\*\*\.csv, which (is no pattern|matches no file)"),
        ("*.tsv", r"names \*\.tsv, which matches no file in"),
        ("[.csv", r"names \[\.csv, which matches no file in"),
        ("gone.csv", r"names gone\.csv, which is not in"),
        ("empty", r"names empty, a folder without Parquet files; .*\"empty/\*\.csv\""),
    ],
)
def test_names_that_stand_for_nothing_are_one_sentence(tmp_path, pattern, message):
    write(tmp_path, "shop.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LandingError, match=message) as caught:
        names(tmp_path, pattern)
    assert "\n" not in str(caught.value)


# --- folders of Parquet --------------------------------------------------------------------------------------


def test_a_folder_of_parquet_is_read_as_one_table(tmp_path):
    for part in (10, 2, 0):
        write_parquet(tmp_path, f"shop.parquet/part-{part}.parquet", {"user": [f"u{part}"], "item": [7]})
    for marker in ("_SUCCESS", "_metadata", ".part-0.parquet.crc", ".hidden.parquet"):
        (tmp_path / "shop.parquet" / marker).write_bytes(b"no table")
    (tmp_path / "shop.parquet" / "_temporary").mkdir()
    (tmp_path / "shop.parquet" / "_temporary" / "x.parquet").write_bytes(b"no table")
    assert datasets_in(tmp_path) == ["shop"]
    for toml in (None, 'layout = "table"', 'layout = "table"\ninteractions = ["shop.parquet"]'):
        parts = read_all(tmp_path, toml)
        assert [part.counts[0].source_file for part in parts] == [
            f"shop.parquet/part-{number}.parquet" for number in (0, 2, 10)
        ]
        assert [row["user_id"] for part in parts for row in part.rows] == ["u0", "u2", "u10"]


def test_a_part_without_rows_is_no_error(tmp_path):
    write_parquet(
        tmp_path, "shop.parquet/part-0.parquet", {"user": pa.array([], pa.string()), "item": pa.array([], pa.string())}
    )
    write_parquet(tmp_path, "shop.parquet/part-1.parquet", {"user": ["u"], "item": ["i"]})
    empty, full = read_all(tmp_path)
    assert (empty.counts[0].rows_read, full.counts[0].rows_kept) == (0, 1)


# --- columns in the names of folders -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("shop/day=2020-01-31/part-0.parquet", {"day": "2020-01-31"}),
        ("day=2020-01-31/country=a%20b%2Fc/x.csv", {"day": "2020-01-31", "country": "a b/c"}),
        ("day=__HIVE_DEFAULT_PARTITION__/x.csv", {"day": ""}),
        ("year=2020/month=5/day=7/x.csv", {"year/month/day": "2020-05-07T00:00:00"}),
        ("year=2020/month=05/x.csv", {"year/month": "2020-05-01T00:00:00"}),
        ("year=2020/month=05/day=07/hour=13/x.csv", {"year/month/day/hour": "2020-05-07T13:00:00"}),
        ("year=2020/x.csv", {"year": "2020"}),
        ("x=1.csv", {}),
        ("=1/a/x.csv", {}),
    ],
)
def test_columns_of_folders(name, columns):
    assert partition_columns(name) == columns


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("folder", "time"),
    [
        ("day=2020-01-31", datetime(2020, 1, 31, tzinfo=UTC)),
        ("dt=20200131", datetime(2020, 1, 31, tzinfo=UTC)),
        ("event_date=2020-01-31", datetime(2020, 1, 31, tzinfo=UTC)),
        ("year=2020/month=1/day=31", datetime(2020, 1, 31, tzinfo=UTC)),
        ("ts=2020-01-31 12%3A30%3A00/country=de", datetime(2020, 1, 31, 12, 30, tzinfo=UTC)),
    ],
)
def test_the_time_of_a_partition_is_that_of_its_rows(tmp_path, kind, folder, time):
    if kind == "csv":
        write(tmp_path, f"{folder}/x.csv", TABLE + "u,i\nv,j\n")
    else:
        write_parquet(tmp_path, f"{folder}/x.parquet", {"user": ["u", "v"], "item": ["i", "j"]})
    (part,) = read_all(tmp_path, f'layout = "table"\ninteractions = ["**/*.{kind}"]')
    assert part.values("timestamp", "given_position") == [(int(time.timestamp()), 0)] * 2
    reading = part.counts[0].reading
    assert reading.order == "time"
    assert reading.columns["timestamp"].endswith("(folder)")
    assert not [text for text in reading.warnings if "time" in text]
    assert ("country (folder)" in reading.unused_columns) == ("country" in folder)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_time_of_the_file_counts_more_than_the_folder(tmp_path, kind):
    if kind == "csv":
        write(tmp_path, "day=2020-01-31/x.csv", "user,item,timestamp\nu,i,1400000000\n")
    else:
        write_parquet(tmp_path, "day=2020-01-31/x.parquet", {"user": ["u"], "item": ["i"], "timestamp": [1400000000]})
    toml = f'layout = "table"\ninteractions = ["*/*.{kind}"]\n'
    (part,) = read_all(tmp_path, toml)
    assert part.values("timestamp") == [(1400000000,)]
    assert part.counts[0].reading.columns["timestamp"] == "timestamp"
    assert "day (folder)" in part.counts[0].reading.unused_columns
    (part,) = read_all(tmp_path, toml + '[columns]\ntimestamp = "day"')
    wanted = int(datetime(2020, 1, 31, tzinfo=UTC).timestamp())
    assert part.values("timestamp") == [(wanted,)]
    (part,) = read_all(tmp_path, toml + "[columns]\ntimestamp = false")
    assert part.values("timestamp", "given_position") == [(None, 1)]


def test_a_folder_that_is_no_time_is_refused_with_the_remedy(tmp_path):
    write(tmp_path, "day=monday/x.csv")
    with pytest.raises(LandingError, match=r"day='monday' in the names of its folders is no time.*timestamp = false"):
        read_all(tmp_path, 'layout = "table"\ninteractions = ["*/*.csv"]')


def test_users_of_a_partition_are_read_of_parquet_and_refused_of_text(tmp_path):
    write_parquet(tmp_path, "user=a%2Fb/x.parquet", {"item": ["i"], "timestamp": [1400000000]})
    (part,) = read_all(tmp_path, 'layout = "table"\ninteractions = ["*/*.parquet"]')
    assert part.values("user_id", "item_id") == [("a/b", "i")]
    write(tmp_path, "shopper=a/x.csv", "item,timestamp\ni,1400000000\n")
    toml = 'layout = "table"\ninteractions = ["*/*.csv"]\n[columns]\nuser = "shopper"'
    with pytest.raises(LandingError, match=r"the user 'shopper' stands in the names of folders"):
        read_all(tmp_path, toml)


# --- columns of Parquet --------------------------------------------------------------------------------------


def read_columns(folder: Path, columns: dict, toml: str = 'layout = "table"') -> Read:
    write_parquet(folder, "shop.parquet", columns)
    return read_all(folder, toml)[0]


@settings(max_examples=40, deadline=None)
@given(ids=st.lists(st.integers(0, 2**53), min_size=1, max_size=5))
def test_ids_are_the_same_as_whole_numbers_floats_and_texts(tmp_path_factory, ids):
    folder = tmp_path_factory.mktemp("ids")
    kinds = [
        pa.array(ids),
        pa.array(ids, pa.float64()),
        pa.array(list(map(str, ids))),
        pa.array([f"{id}.0" for id in ids]),
    ]
    for kind in kinds:
        assert read_columns(folder, {"user": kind, "item": kind}).values("user_id", "item_id") == [
            (str(id),) * 2 for id in ids
        ]


@pytest.mark.parametrize("item", [[[1, 2]], [["a"]], [{"id": 1}]])
def test_lists_and_structs_are_refused_with_the_remedy(tmp_path, item):
    with pytest.raises(LandingError, match=r"column 'item', the item, .*(one row|write it as)"):
        read_columns(tmp_path, {"user": ["u"], "item": item})


def test_dates_beyond_the_years_of_python_are_rejects(tmp_path):
    days = pa.array([4_000_000, 16_000, -4_000_000], pa.int32()).cast(pa.date32())
    part = read_columns(tmp_path, {"user": ["u"] * 3, "item": ["i"] * 3, "date": days})
    assert part.reasons() == [(1, "timestamp out of range"), (3, "timestamp out of range")]
    assert part.values("line_number") == [(2,)]


def test_numbers_that_are_no_times_are_refused_in_parquet_too(tmp_path):
    columns = {"user": ["u", "u"], "item": ["i", "j"], "timestamp": [1, 2]}
    with pytest.raises(LandingError, match=r"no seconds since 1970.*timestamp = false"):
        read_columns(tmp_path, columns)
    part = read_columns(tmp_path, columns, 'layout = "table"\n[columns]\ntimestamp = false')
    assert part.values("given_position", "timestamp") == [(1, None), (2, None)]


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([1400000000], "seconds"),
        ([1400000000000000], "microseconds"),
        (pa.array([1400000000000], pa.timestamp("ms")), "times of Parquet"),
        ([20140513], "%Y%m%d"),
    ],
)
def test_what_was_read_is_told_of_parquet(tmp_path, values, unit):
    part = read_columns(tmp_path, {"index": [0], "user": ["u"], "item": ["i"], "ts": values})
    reading = part.counts[0].reading
    assert reading.columns == {"user": "user", "item": "item", "timestamp": "ts"}
    assert (reading.unused_columns, reading.time_unit, reading.order) == (("index",), unit, "time")


# --- presets -------------------------------------------------------------------------------------------------


def test_movielens_of_1m_and_100k(tmp_path):
    write(tmp_path, "ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n")
    write(tmp_path, "u.data", "196\t242\t3\t881250949\n186\t302\t4\t891717742\n")
    (part,) = read_all(tmp_path, 'preset = "movielens"')
    assert part.values("user_id", "item_id", "rating", "timestamp") == [
        ("1", "1193", 5, 978300760),
        ("1", "661", 3, 978302109),
    ]
    (part,) = read_all(tmp_path, 'preset = "movielens_100k"')
    assert part.values("user_id", "item_id", "rating", "timestamp")[0] == ("196", "242", 3, 881250949)


def test_movielens_as_csv(tmp_path):
    write(tmp_path, "ratings.csv", "userId,movieId,rating,timestamp\n1,296,5.0,1147880044\n")
    (part,) = read_all(tmp_path, 'preset = "movielens_csv"')
    assert part.values("user_id", "item_id", "rating", "timestamp") == [("1", "296", 5, 1147880044)]


def test_yambda_counts_from_a_start_that_is_not_known(tmp_path):
    columns = {
        "uid": pa.array([10, 10, 20], pa.uint32()),
        "timestamp": pa.array([0, 5, 18_111_700], pa.uint32()),
        "item_id": pa.array([7, 8, 7], pa.uint32()),
        "is_organic": pa.array([1, 0, 1], pa.uint8()),
    }
    write_parquet(tmp_path, "listens.parquet", columns)
    (part,) = read_all(tmp_path, 'preset = "yambda"')
    assert part.values("user_id", "item_id") == [("10", "7"), ("10", "8"), ("20", "7")]
    times = [time for (time,) in part.values("timestamp")]
    assert [time - times[0] for time in times] == [0, 5, 18_111_700]
    assert part.counts[0].reading.unused_columns == ("is_organic",)
    write_parquet(tmp_path, "likes.parquet", columns)
    (part,) = read_all(tmp_path, 'preset = "yambda"\ninteractions = ["likes.parquet"]')
    assert part.counts[0].source_file == "likes.parquet"


def test_retailrocket(tmp_path):
    text = (
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,257597,view,355908,\n"
        "1433224214164,992329,transaction,248676,4000\n"
    )
    write(tmp_path, "events.csv", text)
    (part,) = read_all(tmp_path, 'preset = "retailrocket"')
    assert part.values("user_id", "item_id", "timestamp", "millisecond") == [
        ("257597", "355908", 1433221332, 117),
        ("992329", "248676", 1433224214, 164),
    ]
    assert part.counts[0].reading.unused_columns == ("event", "transactionid")


@pytest.mark.parametrize(
    ("preset", "line"), [("amazon_ratings", "u,i,5.0,1400000000"), ("amazon_ratings_2018", "i,u,5.0,1400000000")]
)
def test_ratings_only_of_amazon(tmp_path, preset, line):
    write(tmp_path, "shop.csv", line + "\n")
    (part,) = read_all(tmp_path, f'preset = "{preset}"')
    assert part.values("user_id", "item_id", "rating", "timestamp") == [("u", "i", 5, 1400000000)]


def test_steam_has_no_times(tmp_path):
    write(
        tmp_path,
        "steam-200k.csv",
        '151603712,"The Elder Scrolls V, Skyrim",purchase,1.0,0\n151603712,Spore,play,14.9,0\n',
    )
    (part,) = read_all(tmp_path, 'preset = "steam_200k"')
    assert part.values("item_id", "timestamp", "given_position") == [
        ("The Elder Scrolls V, Skyrim", None, 1),
        ("Spore", None, 2),
    ]


def test_a_preset_is_checked_as_what_it_stands_for(tmp_path):
    for preset in PRESETS:
        assert described(tmp_path, f'preset = "{preset}"').layout in ("table", "json_lines")
    with pytest.raises(LandingError, match=r"preset 'netflix' is not known; it is one of movielens, movielens_100k"):
        described(tmp_path, 'preset = "netflix"')
    with pytest.raises(LandingError, match=r"preset 7 is not known"):
        described(tmp_path, "preset = 7")


# --- names by position ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("user_id,item_id,rating,rating", '["user", "item", "rating", "timestamp"]'),
        ("userId,movieId,stars,when", '["user", "item", "rating", "timestamp"]'),
        ("user,item,rating,timestamp", '["user", "item", "rating", "timestamp"]'),
    ],
)
def test_a_line_of_names_is_no_row_where_columns_are_named_by_position(tmp_path, header, columns):
    write(tmp_path, "shop.csv", f"{header}\nu,i,4.0,1400000000\n")
    (part,) = read_all(tmp_path, f'layout = "table"\ncolumns = {columns}')
    assert part.values("user_id", "item_id", "rating", "timestamp") == [("u", "i", 4, 1400000000)]
    assert part.rejects == []


def test_a_first_row_is_a_row_where_columns_are_named_by_position(tmp_path):
    write(tmp_path, "shop.csv", "anna,book\nbert,film\n")
    (part,) = read_all(tmp_path, 'layout = "table"\ncolumns = ["user", "item"]')
    assert part.values("user_id", "item_id") == [("anna", "book"), ("bert", "film")]


def test_line_ends_of_old_macs_are_refused_with_the_remedy(tmp_path):
    write(tmp_path, "shop.csv", "user,item\ru,i\rv,j\r")
    with pytest.raises(LandingError, match=r"line 1 holds line ends of old Macs .*save the file with line feeds"):
        read_all(tmp_path)
