"""Dagster's own SQLite storage, with its files kept open.

As Dagster comes, it opens a database anew for every statement: SQLAlchemy compiles each statement again, and SQLite
writes its log back into the file, and waits for the disk, whenever the last connection is closed. A run that makes
forty assets opens and closes three thousand times. Here each storage keeps its connections, and in the WAL mode in
which Dagster's databases are, only a checkpoint waits for the disk (``synchronous=NORMAL``). A process that is killed
loses nothing by that. When the machine loses its power, the last transactions may be missing and the database is
whole; what they recorded is then made again. There is a checkpoint at the start of each run, so that what it set out
to make is known whatever happens.

The files are those that Dagster makes, so its UI and its daemon read and write them as they come. An instance with
another storage in its ``dagster.yaml`` is opened as it says.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy

from orchestration.dagster_internals import (
    DAGSTER_CONFIG_YAML_FILENAME,
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    DagsterSqliteStorage,
    InstanceRef,
    SqliteEventLogStorage,
    SqliteRunStorage,
    SqliteScheduleStorage,
    _event_logs_directory,
    _runs_directory,
    _schedule_directory,
    create_db_conn_string,
    load_yaml_from_path,
    sqlite_event_log,
    sqlite_run_storage,
    sqlite_schedule_storage,
)
from orchestration.options import switch

# Turns all of this off.
SWITCH = "RAW2RANK_KEEP_SQLITE_OPEN"
# Databases that one storage keeps open: the log of events has one for each run, and one of all runs.
_KEPT = 8


def open_instance(dagster_home: Path) -> dg.DagsterInstance:
    """The instance of a ``DAGSTER_HOME``, as its ``dagster.yaml`` says; Dagster's own SQLite storage is kept open.

    With ``RAW2RANK_KEEP_SQLITE_OPEN=no`` in the environment it is opened as Dagster opens it.
    """
    reference = _reference(dagster_home)
    return dg.DagsterInstance.from_ref(_kept_open(reference) if _is_switched_on() else reference)


def _is_switched_on() -> bool:
    try:
        return switch(os.environ.get(SWITCH) or "yes")
    except ValueError as error:
        raise ValueError(f"{SWITCH}: {error}") from error


def reference_for_services(dagster_home: Path) -> InstanceRef:
    """Reference by which the web server, the daemon and their runs open the same instance.

    They use Dagster's own storage, except where that would open databases at another place than in the folder: it puts
    a path into a URL as it is, of which SQLAlchemy decodes ``%20``.
    """
    reference = _reference(dagster_home)
    url = create_db_conn_string(str(dagster_home), "runs")
    as_it_is = sqlalchemy.make_url(url).database == os.path.join(os.path.abspath(dagster_home), "runs.db")
    return reference if as_it_is else _kept_open(reference)


def _reference(dagster_home: Path) -> InstanceRef:
    # Dagster takes the path for a pattern, so that it would not find its file below a folder named [x]
    configuration: Any = load_yaml_from_path(str(dagster_home / DAGSTER_CONFIG_YAML_FILENAME))
    return InstanceRef.from_dir(str(dagster_home), overrides=configuration or {})


def _kept_open(reference: InstanceRef) -> InstanceRef:
    storage = reference.storage_data
    if storage is None or storage.class_name != DagsterSqliteStorage.__name__:
        return reference
    kept = ConfigurableClassData(__name__, KeptOpenStorage.__name__, storage.config_yaml)
    return reference._replace(storage_data=kept)


def _database_url(base_dir: str, name: str) -> str:
    """The SQLAlchemy URL of a database; special characters in the path are escaped."""
    path = os.path.join(os.path.abspath(base_dir), f"{name}.db")
    return sqlalchemy.URL.create("sqlite", database=path).render_as_string()


# There is no option for it: the functions that open a storage call it by this name.
for _module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
    setattr(_module, create_db_conn_string.__name__, _database_url)


class _Engines:
    """The engines of one storage, the ones used last; each keeps a connection and the statements it has compiled."""

    def __init__(self) -> None:
        # by process too: a connection must not be used, nor closed, on the other side of a fork
        self._kept: OrderedDict[tuple[int, str], sqlalchemy.Engine] = OrderedDict()

    def of(self, url: str) -> sqlalchemy.Engine:
        """The engine of a database."""
        key = (os.getpid(), url)
        if key not in self._kept:
            engine = sqlalchemy.create_engine(
                url, pool_size=1, max_overflow=-1, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
            )
            sqlalchemy.event.listen(engine, "connect", _write_ahead)
            self._kept[key] = engine
            own = [other for other in self._kept if other[0] == key[0]]
            if len(own) > _KEPT:
                self._kept.pop(own[0]).dispose()
        self._kept.move_to_end(key)
        return self._kept[key]

    def close(self) -> None:
        """Close what this process has opened; it is opened again where it is asked for."""
        for key in [key for key in self._kept if key[0] == os.getpid()]:
            self._kept.pop(key).dispose()


def _write_ahead(connection: Any, _record: Any) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")


class KeptOpenEventLog(SqliteEventLogStorage):
    """The log of events."""

    def __init__(self, base_dir: str) -> None:
        self._engines = _Engines()
        self._tables: set[str] = set()
        super().__init__(base_dir)

    def has_table(self, table_name: str) -> bool:
        # Dagster asks before it reads any dynamic partition, and opens the database for it; a table that is there stays
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        with self._db_lock:
            engine = self._engines.of(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def store_event(self, event: dg.EventLogEntry) -> None:
        super().store_event(event)
        if event.is_dagster_event and event.dagster_event_type == dg.DagsterEventType.RUN_START:
            # what the run is about to make is on the disk before any of it is made (orchestration.execution.plan)
            with self.index_connection() as connection:
                connection.exec_driver_sql("pragma wal_checkpoint(full)")

    def dispose(self) -> None:
        super().dispose()
        self._engines.close()


class KeptOpenRuns(SqliteRunStorage):
    """The runs."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = _Engines()
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[sqlalchemy.Connection]:
        with self._engines.of(self._conn_string).connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        super().dispose()
        self._engines.close()


class KeptOpenStorage(DagsterSqliteStorage):
    """The storages in the folders of :class:`DagsterSqliteStorage`.

    That of schedules is Dagster's own: a run hardly asks for it, and an instance does not close it.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super(DagsterSqliteStorage, self).__init__()
        self.base_dir = base_dir
        self._run_storage = KeptOpenRuns.from_local(_runs_directory(base_dir))
        self._event_log_storage = KeptOpenEventLog(_event_logs_directory(base_dir))
        self._schedule_storage = SqliteScheduleStorage.from_local(_schedule_directory(base_dir))
        self._inst_data = inst_data

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Any) -> KeptOpenStorage:
        return cls.from_local(inst_data=inst_data, **config_value)
