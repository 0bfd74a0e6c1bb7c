"""The tables that Spark has made, and how the warehouse shows them to everyone else.

Spark keeps them as Parquet below ``warehouse/<dataset>.spark``, with a catalogue that remembers them from run to run.
The DuckDB file of the dataset holds a view of each, with the types of the contracts, so that what leaves the warehouse
is written as after a run on DuckDB.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ml.data.database import connect, quoted
from orchestration.paths import DatasetPaths

# there while Spark writes: what a process that was killed leaves has no table in the catalogue, and would be in the way
_UNFINISHED = "unfinished"
_CATALOGUE = "catalogue"
_TABLES = "tables"


def usable_tables(paths: DatasetPaths) -> bool:
    """Whether there are tables of an earlier run. Those of one that was killed are removed."""
    if (paths.spark / _CATALOGUE).is_dir() and not (paths.spark / _UNFINISHED).exists():
        return True
    shutil.rmtree(paths.spark, ignore_errors=True)
    return False


@contextmanager
def spark_places(paths: DatasetPaths) -> Iterator[dict[str, str]]:
    """The environment variables that tell Spark where its tables are, valid within the block.

    The tables are taken for unfinished until :func:`finished` says otherwise.
    """
    paths.spark.mkdir(parents=True, exist_ok=True)
    (paths.spark / _UNFINISHED).touch()
    yield {
        "RAW2RANK_SPARK_WAREHOUSE": str(paths.spark / _TABLES),
        "RAW2RANK_SPARK_CATALOGUE": str(paths.spark / _CATALOGUE),
        "RAW2RANK_DBT_THREADS": os.environ.get("RAW2RANK_DBT_THREADS", "4"),
    }


def finished(paths: DatasetPaths) -> None:
    """Note that no table is half written."""
    (paths.spark / _UNFINISHED).unlink(missing_ok=True)


def show_tables(paths: DatasetPaths, models: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    """Put views of the tables into the DuckDB file, in place of what DuckDB may have made there.

    Args:
        paths: the dataset.
        models: nodes of the manifest by schema and name.
    """
    with connect(paths.warehouse) as connection:
        there = dict(
            connection.execute(
                "select table_schema || '.' || table_name, table_type from information_schema.tables"
            ).fetchall()
        )
        connection.execute("begin")
        for (schema, name), node in models.items():
            files = paths.spark / _TABLES / f"{schema}.db" / name
            if not any(files.glob("*.parquet")):
                continue
            connection.execute(f"create schema if not exists {schema}")
            for table in (f"{schema}.{name}", f"{schema}.{name}__files"):
                if there.get(table) == "BASE TABLE":
                    connection.execute(f"drop table {table}")
            columns = ", ".join(
                f'"{column}"::{described["data_type"]} as "{column}"' for column, described in node["columns"].items()
            )
            connection.execute(
                f"create or replace view {schema}.{name} as "
                f"select {columns} from read_parquet('{quoted(files)}/*.parquet', hive_partitioning = false)"
            )
        connection.execute("commit")
