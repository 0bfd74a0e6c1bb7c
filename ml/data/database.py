"""Connections to DuckDB that keep to the limits of this machine's user.

``RAW2RANK_DUCKDB_MEMORY`` (``4GB``, ``80%``), ``RAW2RANK_DUCKDB_THREADS`` and ``RAW2RANK_DUCKDB_TEMPORARY`` (a folder
for what does not fit into memory) hold for every step that uses DuckDB, as they do for dbt. What does not fit into
memory goes to a folder of this user alone, which is removed with the connection: in ``RAW2RANK_DUCKDB_TEMPORARY``, else
in the workspace, else in the system's temporary folder.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.data.files import working_folder
from ml.limits import memory_bytes, processors

if TYPE_CHECKING:
    import duckdb

_SETTINGS = {"memory_limit": "RAW2RANK_DUCKDB_MEMORY", "threads": "RAW2RANK_DUCKDB_THREADS"}
# folder of a workspace that holds what does not fit into memory
TEMPORARY = "temporary"


# enough for ten million interactions without spilling, and for fifty million with it
_LARGEST_DEFAULT_BYTES = 6 << 30


def memory_limit() -> str:
    """Memory limit of DuckDB: ``RAW2RANK_DUCKDB_MEMORY``, else 6 GiB, or 80 % of what this process may use."""
    default = f"{min(_LARGEST_DEFAULT_BYTES, memory_bytes() * 4 // 5) >> 20}MiB"
    return os.environ.get(_SETTINGS["memory_limit"]) or default


def thread_limit() -> str:
    """Threads of DuckDB: ``RAW2RANK_DUCKDB_THREADS``, else one for each processor that this process may use."""
    return os.environ.get(_SETTINGS["threads"]) or str(processors())


def one_row(connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[object] = ()) -> tuple[Any, ...]:
    """The row of a query that always has one, such as a count."""
    row = connection.execute(query, list(values)).fetchone()
    assert row is not None
    return row


@contextmanager
def connect(database: Path | None = None, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a database file, or (``None``) to one in memory; closed at the end."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]]
    settings = {"memory_limit": memory_limit(), "threads": thread_limit()}
    name = ":memory:" if database is None else str(database)
    with working_folder(_spill_root()) as spill:
        settings["temp_directory"] = str(spill)
        with duckdb.connect(name, read_only=read_only, config=settings) as connection:
            connection.execute("set enable_progress_bar = false")
            yield connection


def _spill_root() -> Path:
    given, home = os.environ.get("RAW2RANK_DUCKDB_TEMPORARY"), os.environ.get("RAW2RANK_HOME")
    if given:
        return Path(given)
    return Path(home) / TEMPORARY if home else Path(tempfile.gettempdir())


def quoted(path: Path) -> str:
    """A path, escaped for use inside a quoted SQL string."""
    return str(path).replace("'", "''")
