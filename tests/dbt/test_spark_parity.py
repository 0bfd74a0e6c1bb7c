"""Every model is the same table on DuckDB and on Spark: columns, types and rows, whatever their order.

Skipped where Spark is not installed; `make install-spark` does that.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from costs import others_slow
from hypothesis import HealthCheck, Phase, given, settings, strategies
from spark_session import SparkProject
from warehouse_dbt import NO_LAKE, CompiledProject, empty_warehouse
from warehouse_landing import Landing, description, dirty_landing, divided_landing, ordered_landing, reject
from warehouse_reference import Settings
from workbench import Workbench, write_small_dump

from orchestration.engine import EngineError, check_spark, spark_python

# all that depends on settings
FROM_RULES_ON = "int_interactions_judged+"
# each tie rule, split, cleaning rule and kind of k-core
VARIANTS = {
    "leave-one-out, hash, k-core": Settings(k_core=2, validation_users=4, seed=1),
    "leave-last-k, shuffle, items alone": Settings(
        split="leave-last-k", last_items=3, tie_order="shuffle", seed=7, k_core=3, k_core_users=0, validation_users=5
    ),
    "shares of time, item, two k": Settings(
        split="global-temporal",
        # 0.07 of 100 is more than 7 in floating point
        validation_from="0.07",
        test_from="0.7",
        tie_order="item",
        k_core_users=3,
        k_core_items=4,
        validation_users=3,
    ),
    "dates, file, every cleaning rule": Settings(
        split="temporal-folds",
        validation_from="1970-01-03",
        test_from="1970-01-05",
        tie_order="file",
        from_date="1970-01-02",
        until_date="1970-01-07",
        verified_only=True,
        min_rating=3.5,
        first_interaction_only=True,
        min_history=2,
        k_core=0,
        validation_users=0,
    ),
    "cold items": Settings(split="cold-items", cold_items=0.15, k_core=0, seed=3, validation_users=4),
}
PIECES = [
    *"&#;x<>/={}:.@'\"\\$%()- \t\x0b\n\x85\xa0\u2028\u3000\u200b\x7f017_aBkéſKİı日😀\u0301",
    *("amp;", "&lt;", "&apos;", "&shy;", "&#39;", "&#x2019;", "&#X41;", "&#150;", "&nosuch;", "&frac12;"),
    *("<span", "</a>", "<ſpan", "<LI", "<lin", "<!--", '"/>', ".a", "@media", "var ", "function", "px", "color: "),
]
PRICES = [
    *("$1,234.50", "1,23", "\x0b$5", "\u00a05", " $ 7 ", "7.5\n", ".5", "$", "0", "0.00", "12.345", "$1 - $2", " "),
    *("\u3000", "999999999999999999.99", "1e5", "٣"),
]


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkProject]:
    folder = tmp_path_factory.mktemp("spark")
    try:
        check_spark(Path("/"))
    except EngineError as error:
        pytest.skip(str(error))
    project = SparkProject(spark_python(), folder)
    yield project
    project.close()


def texts(seed: int) -> list[str]:
    """Every character, with its neighbours and alone as an entity; and texts put together from what is special."""
    generator = random.Random(seed)
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    rows = ["x".join(characters[start:end]) for start, end in pairwise([*range(0, len(characters), 4000), None])]
    codes = [*range(1200), 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0xFEFF, 0xFFFF, 0x10000, 0x1F600, 0x10FFFF, 0x110000]
    codes += [2**31 - 1, 2**31, 2**32 + 65, 10**30]
    rows += [f"&#{code};&#x{code:x};&#X0000000000{code:X};" for code in codes]
    return rows + ["".join(generator.choices(PIECES, k=generator.randrange(1, 9))) for _ in range(1500)]


def all_dirt() -> Landing:
    """Ties, duplicates, rejects, given splits and every kind of text in two files each."""
    own, divided = dirty_landing(seed=2, users=40, items=12, reviews=500), divided_landing(1)
    reviews = [*own.reviews, *(row | {"user_id": f"D{row['user_id']}"} for row in divided.reviews if "user_id" in row)]
    reviews += [reject(bytes(range(256))), reject("caf\u00e9 \x00 '\"\\".encode()), reject(b"\xc3")]
    described = [
        description(
            f"T{number:05d}",
            title=text,
            brand=text[::-1] if len(text) < 100 else None,
            price=PRICES[number % len(PRICES)],
            image_url=f" {text[:9]}\u00a0",
            item_text=text,
            category=categories(text[:9])[number % 5],
        )
        for number, text in enumerate(texts(seed=3))
    ]
    return replace(own, reviews=reviews, metadata=[*own.metadata, *described]).shuffled(5)


def categories(text: str) -> list[list[str] | None]:
    return [None, [], [text], ["Tools", text, ""], [text, "Tools", "<span", "Feature"]]


def built_by_duckdb(compiled: CompiledProject, lake: Path, settings: Settings) -> duckdb.DuckDBPyConnection:
    connection = empty_warehouse()
    # as the sources quote it, in a pattern of file names and in a string
    path = str(lake).replace("[", "[[]").replace("'", "''")
    for name, code in compiled.models(settings).items():
        connection.execute(f"create table warehouse.{name} as {code.replace(NO_LAKE, path)}")
    return connection


def assert_equal(compiled: CompiledProject, lake: Path, settings: Settings, built: Path) -> None:
    """Compare all models that Spark has built with those of DuckDB."""
    with built_by_duckdb(compiled, lake, settings) as connection:
        models = list(compiled.models(settings))
        assert len(models) == 19
        for name in models:
            schema, model = name.split(".")
            expected = ordered(connection, f"warehouse.{name}")
            files = f"read_parquet('{built}/{schema}.db/{model}/*.parquet')"
            found = ordered(connection, files, expected if schema != "marts" else None)
            assert found.schema == expected.schema, name
            if not found.equals(expected):
                pairs = zip(found.to_pylist(), expected.to_pylist(), strict=False)
                differ = [pair for pair in pairs if pair[0] != pair[1]]
                pytest.fail(f"{name}: {len(found)} rows, not {len(expected)}, or others, such as {differ[:2]}")


def ordered(connection: duckdb.DuckDBPyConnection, table: str, like: pa.Table | None = None) -> pa.Table:
    """The rows of a table, ordered by all columns; ``like`` another in their order and in types that Spark lacks."""
    columns = "*"
    if like is not None:
        types = {pa.uint64(): "::ubigint"}
        columns = ", ".join(f'"{field.name}"{types.get(field.type, "")} as "{field.name}"' for field in like.schema)
    return connection.sql(f"select {columns} from {table} order by all").to_arrow_table()


@pytest.fixture(scope="module")
def dirt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Spark would read this name as a pattern, too
    return all_dirt().write(tmp_path_factory.mktemp("dirt") / "it's a {lake} [1]")


# a build on Spark takes some twenty seconds: always the split, order and core that are the defaults, and all cleaning
@pytest.mark.parametrize(
    "variant", others_slow(VARIANTS.keys(), "leave-one-out, hash, k-core", "dates, file, every cleaning rule")
)
def test_every_rule_gives_the_same_tables(
    spark: SparkProject, compiled: CompiledProject, dirt: Path, variant: str, built_before: set[Path]
) -> None:
    chosen = VARIANTS[variant]
    built = spark.build(dirt, asdict(chosen), "" if dirt not in built_before else FROM_RULES_ON)
    built_before.clear()
    built_before.add(dirt)
    assert_equal(compiled, dirt, chosen, built)


@pytest.fixture(scope="session")
def built_before() -> set[Path]:
    """The lake that Spark's staged tables are made of, if it is one of all tests of settings."""
    return set()


@pytest.mark.slow
def test_the_demo_dump_gives_the_same_tables(
    spark: SparkProject, compiled: CompiledProject, tmp_path: Path, built_before: set[Path]
) -> None:
    from ml.demo.dump import write_demo_dump

    write_demo_dump(tmp_path / "dump", users=150, items=60)
    lake = landed(tmp_path / "dump", "Demo", tmp_path / "lake")
    built_before.clear()
    assert_equal(compiled, lake, Settings(), spark.build(lake, asdict(Settings())))


def landed(folder: Path, dataset: str, lake: Path) -> Path:
    from ml.data.landing.land import INTERACTIONS_SCHEMA, METADATA_SCHEMA, land
    from ml.data.sources import find_source

    source = find_source(folder, dataset)
    land(source.interactions, lake / "landing" / "reviews", INTERACTIONS_SCHEMA)
    land(source.metadata, lake / "landing" / "metadata", METADATA_SCHEMA)
    return lake


LANDINGS: dict[str, Callable[[int], Landing]] = {"dirty": dirty_landing, "ordered": ordered_landing}


# each dump is a whole build on both engines
@pytest.mark.slow
@settings(
    max_examples=2, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None, derandomize=True
)
@given(data=strategies.data())
def test_random_dumps_and_settings_give_the_same_tables(
    spark: SparkProject,
    compiled: CompiledProject,
    tmp_path_factory: pytest.TempPathFactory,
    built_before: set[Path],
    data: strategies.DataObject,
) -> None:
    kind = data.draw(strategies.sampled_from(sorted(LANDINGS)))
    # a split by time needs times
    splits = ["leave-one-out", "leave-last-k", "cold-items", *(["global-temporal"] if kind == "dirty" else [])]
    chosen = Settings(
        split=data.draw(strategies.sampled_from(splits)),
        tie_order=data.draw(strategies.sampled_from(["hash", "file", "item", "shuffle"])),
        k_core_users=data.draw(strategies.integers(0, 3)),
        k_core_items=data.draw(strategies.integers(0, 3)),
        validation_users=data.draw(strategies.integers(0, 5)),
        first_interaction_only=data.draw(strategies.booleans()),
        seed=data.draw(strategies.integers(0, 99)),
        last_items=2,
        cold_items=0.3,
    )
    lake = LANDINGS[kind](data.draw(strategies.integers(0, 10**6))).write(tmp_path_factory.mktemp("random") / "lake")
    built_before.clear()
    assert_equal(compiled, lake, chosen, spark.build(lake, asdict(chosen)))


@pytest.mark.slow
def test_a_split_by_time_without_times_fails_as_on_duckdb(
    spark: SparkProject, tmp_path: Path, built_before: set[Path]
) -> None:
    lake = ordered_landing(1).write(tmp_path / "lake")
    built_before.clear()
    message = "split global-temporal needs the time of every interaction, and [0-9]+ of [0-9]+ have none"
    with pytest.raises(AssertionError, match=message):
        spark.build(lake, asdict(Settings(split="global-temporal", k_core=0)), "+int_split_boundaries")


@pytest.mark.slow
def test_the_command_writes_the_same_files_on_both_engines(
    spark: SparkProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """Also where Spark makes only what another setting changes."""
    dumps = tmp_path / "dumps"
    write_small_dump(dumps)
    marts, staged = {}, {}
    for name in ("duckdb", "spark"):
        monkeypatch.setenv("RAW2RANK_ENGINE", name)
        # a name that has to be quoted in places
        bench = Workbench(tmp_path / f"a folder of {name} 日本@x+y=z~", dumps, lambda: "".join(capfd.readouterr()))
        for options in ([], ["--split", "leave-last-k", "--last-items", "2"]):
            code, said = bench.check(*options)
            assert code == 0, said
        marts[name] = {path.name: path.read_bytes() for path in bench.lake("marts").glob("*.parquet")}
        # Spark knows of more columns that they are never null, which is part of a file
        staged[name] = {path.name: pq.read_table(path).to_pylist() for path in bench.lake("staging").glob("*.parquet")}
    assert len(marts["duckdb"]) == 6
    assert marts["spark"] == marts["duckdb"]
    assert len(staged["duckdb"]) == 5
    assert staged["spark"] == staged["duckdb"]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "dataset", "chosen"),
    [
        ("magazine_subscriptions_2018", "Magazine_Subscriptions", Settings()),
        ("all_beauty_2018", "All_Beauty", Settings(k_core=3, split="leave-last-k", last_items=2, tie_order="file")),
        ("ml100k", "ml-100k", Settings(split="global-temporal", tie_order="item")),
    ],
)
def test_public_dumps_give_the_same_tables(
    spark: SparkProject,
    compiled: CompiledProject,
    tmp_path: Path,
    built_before: set[Path],
    folder: str,
    dataset: str,
    chosen: Settings,
) -> None:
    data = os.environ.get("RAW2RANK_DATA")
    if not data or not Path(data, folder).is_dir():
        pytest.skip(f"RAW2RANK_DATA is not set to a folder of public datasets with {folder}")
    lake = landed(Path(data, folder), dataset, tmp_path / "lake")
    built_before.clear()
    assert_equal(compiled, lake, chosen, spark.build(lake, asdict(chosen)))
