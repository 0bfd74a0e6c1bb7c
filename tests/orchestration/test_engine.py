"""The engine of the warehouse: which one, why Spark cannot be used, and what is read of its tables."""

from __future__ import annotations

import json
import socket
import tomllib
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from workbench import Workbench, write_small_dump

from orchestration.engine import EngineError, check_spark, engine, spark_dbt, spark_python
from orchestration.paths import REPOSITORY, DatasetPaths
from orchestration.warehouse.spark_tables import finished, show_tables, spark_places, usable_tables

VERSIONS = {"dbt-core": "1.11.16", "dbt-spark": "1.11.0", "pyspark": "4.3.0"}
JAVA_17 = 'openjdk version "17.0.15" 2025-04-15'


def script(path: Path, says: str) -> Path:
    """A program that prints something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts programs in place of Spark's Python, its dbt, and Java."""

    def install(versions: dict[str, str] | None = None, java: str = JAVA_17) -> None:
        # a folder of its own each time, since what a Python has is remembered
        folder = tmp_path / f"environment_{len(list(tmp_path.iterdir()))}"
        monkeypatch.setenv("RAW2RANK_ENGINE", "spark")
        monkeypatch.setenv("RAW2RANK_SPARK_PYTHON", str(script(folder / "python", json.dumps(versions or VERSIONS))))
        script(folder / "dbt", "")
        script(folder / "java_home" / "bin" / "java", java)
        monkeypatch.setenv("JAVA_HOME", str(folder / "java_home"))
        monkeypatch.delenv("RAW2RANK_SPARK_MASTER", raising=False)

    install()
    return install


def said_of_spark(tables: str = "/somewhere/Demo.spark") -> str:
    with pytest.raises(EngineError) as caught:
        check_spark(Path(tables))
    return str(caught.value)


def test_the_engine_is_duckdb_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAW2RANK_ENGINE", raising=False)
    assert engine() == "duckdb"
    monkeypatch.setenv("RAW2RANK_ENGINE", "")
    assert engine() == "duckdb"
    monkeypatch.setenv("RAW2RANK_ENGINE", "spark")
    assert engine() == "spark"
    monkeypatch.setenv("RAW2RANK_ENGINE", "flink")
    with pytest.raises(EngineError, match=r"^RAW2RANK_ENGINE is 'flink': it may be duckdb or spark$"):
        engine()


def test_all_that_spark_needs_is_enough(installed: Callable[..., None]) -> None:
    check_spark(Path("/a folder/with 日本/Demo.spark"))
    assert spark_dbt() == spark_python().with_name("dbt")


def test_a_missing_python_or_package_is_named_with_its_remedy(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(VERSIONS | {"pyspark": "", "dbt-spark": ""})
    said = said_of_spark()
    assert said.startswith("RAW2RANK_ENGINE=spark needs dbt-spark and pyspark, and ")
    assert "`make install-spark`" in said
    assert "pip install 'raw2rank[spark]'" in said
    monkeypatch.setenv("RAW2RANK_SPARK_PYTHON", "/nowhere/python")
    assert said_of_spark().startswith("RAW2RANK_SPARK_PYTHON is /nowhere/python, which does not run as Python (")


def test_missing_or_old_java_is_named_with_its_remedy(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(java='openjdk version "1.8.0_452"')
    assert "is Java 8: install a later one" in said_of_spark()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no java here"))
    assert "needs Java 17 or later, and there is none (" in said_of_spark()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is none (no java is on the PATH): install one, on Debian by apt-get" in said_of_spark()


def test_a_cluster_is_tried_before_spark_is_started(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAW2RANK_SPARK_MASTER", f"spark://127.0.0.1:1,{there}")
        check_spark(Path("/somewhere"))
    for master in (f"spark://{there}", "spark://127.0.0.1", "spark://127.0.0.1:99999"):
        monkeypatch.setenv("RAW2RANK_SPARK_MASTER", master)
        assert said_of_spark().startswith(f"the Spark cluster {master} cannot be reached (")
    monkeypatch.setenv("RAW2RANK_SPARK_MASTER", "local[2]")
    check_spark(Path("/somewhere"))


@pytest.mark.parametrize("path", ["/a;b", "/{x}", "/it's", "/a#b", "/[x]"])
def test_a_path_that_spark_takes_apart_is_refused(installed: Callable[..., None], path: str) -> None:
    assert said_of_spark(path).startswith(f"Spark cannot keep its tables in {path}: ")


def test_nothing_is_published_where_the_cluster_cannot_be_reached(
    installed: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("RAW2RANK_SPARK_MASTER", "spark://127.0.0.1:1")
    write_small_dump(tmp_path / "dumps")
    bench = Workbench(tmp_path / "workspace", tmp_path / "dumps", lambda: "".join(capfd.readouterr()))
    code, said = bench.check()
    assert code == 1
    assert "the Spark cluster spark://127.0.0.1:1 cannot be reached" in said
    assert "Traceback" not in said
    assert bench.lake("landing").exists()
    assert not bench.lake("staging").exists()
    assert not bench.lake("marts").exists()


def test_views_stand_for_the_tables_of_spark_in_the_types_of_the_contracts(tmp_path: Path) -> None:
    paths = DatasetPaths(tmp_path, "Small")
    paths.warehouse.parent.mkdir(parents=True)
    with duckdb.connect(str(paths.warehouse)) as connection:
        connection.execute("create schema staging")
        connection.execute("create table staging.rows_read as select 1 as of_duckdb")
        connection.execute("create table staging.rows_read__files as select 1 as of_duckdb")
    files = paths.spark / "tables" / "staging.db" / "rows_read"
    files.mkdir(parents=True)
    largest = 2**64 - 1
    pq.write_table(pa.table({"digest": pa.array([largest], pa.decimal128(20, 0))}), files / "part-0.parquet")
    columns = {"digest": {"name": "digest", "data_type": "ubigint"}}
    models = {("staging", "rows_read"): {"columns": columns}, ("marts", "not_built"): {"columns": columns}}
    for _ in range(2):
        show_tables(paths, models)
    with duckdb.connect(str(paths.warehouse), read_only=True) as connection:
        found = connection.sql("from staging.rows_read")
        assert [str(kind) for kind in found.types] == ["UBIGINT"]
        assert found.fetchall() == [(largest,)]
        assert connection.execute("select table_name from information_schema.tables").fetchall() == [("rows_read",)]


def test_tables_of_a_run_that_was_killed_are_made_again(tmp_path: Path) -> None:
    paths = DatasetPaths(tmp_path, "Small")
    assert not usable_tables(paths)
    with spark_places(paths) as where:
        Path(where["RAW2RANK_SPARK_CATALOGUE"]).mkdir()
    assert not usable_tables(paths)
    assert not paths.spark.exists()
    with spark_places(paths) as where:
        Path(where["RAW2RANK_SPARK_CATALOGUE"]).mkdir()
        finished(paths)
    assert usable_tables(paths)
    assert paths.spark.exists()


def test_the_lock_pins_what_the_extra_declares_and_the_dbt_of_the_project() -> None:
    def pins(path: str) -> dict[str, str]:
        return dict(line.split("==") for line in (REPOSITORY / path).read_text(encoding="utf-8").splitlines())

    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    locked = pins("deploy/spark/requirements.lock")
    for requirement in map(Requirement, extras["spark"]):
        assert locked[requirement.name] in requirement.specifier
    assert locked["dbt-core"] == pins("requirements.lock")["dbt-core"]
