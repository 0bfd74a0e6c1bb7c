"""The runs that Dagster remembers: the old ones are forgotten, and what is read of the past stays.

Dagster keeps every run for ever. Here each dataset keeps its last ``RAW2RANK_KEEP_RUNS`` runs, and beside them, however
old they are, the runs whose events say

- how an asset was last made, observed or planned (:mod:`orchestration.execution.records`, and the pages of the UI),
- what these were made of,
- what the checks of it found last, and how what such a check reads was then.

So the plan is the same before and after. All other runs that have ended are deleted by ``DagsterInstance.delete_run``,
with what this leaves behind: the logs of their processes, their SQLite files, and their evaluations of checks.
"""

from __future__ import annotations

import os
import sqlite3
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from ml.number_format import size
from orchestration.dagster_internals import (
    FINISHED_STATUSES,
    AssetCheckExecutionsTable,
    BaseAssetGraph,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
    deserialize_value,
)
from orchestration.execution.records import MADE, OBSERVED, PLANNED, rows_of, storage_of
from orchestration.execution.staleness import CHECK_READS
from orchestration.partitions import PARTITION_NAME_TAG

KEEP_VARIABLE = "RAW2RANK_KEEP_RUNS"
_KEPT = 200
# the four runs of one make run, twice
_FEWEST = 8
# of values in one statement; SQLite has a limit
_AT_ONCE = 500
# seconds for another program to end what it writes
_PATIENCE = 10


@dataclass(frozen=True)
class Forgotten:
    """What was deleted, or would be.

    Attributes:
        runs: how many.
        of: how many there were before.
        bytes: of disk that this freed; for what would be deleted, those of its own files alone. 0 where the storage is
            a database server, which uses the room again.
        problem: a sentence where a database could not be made smaller; empty otherwise.
    """

    runs: int
    of: int
    bytes: int
    problem: str = ""


def kept_runs() -> int:
    """How many runs of each dataset are kept, as ``RAW2RANK_KEEP_RUNS`` says.

    Raises:
        ValueError: it is no whole number, or below 8.
    """
    text = os.environ.get(KEEP_VARIABLE, "").strip() or str(_KEPT)
    if not text.isascii() or not text.isdigit() or int(text) < _FEWEST:
        raise ValueError(
            f"{KEEP_VARIABLE}={text} is not possible: give a whole number, at least {_FEWEST} (a make run is up to "
            "four runs of Dagster)"
        )
    return int(text)


def forget_old_runs(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str = "", dry_run: bool = False
) -> Forgotten:
    """Delete old runs, and make the databases smaller.

    Runs that are under way beside this are not touched, and neither is what they read.

    Args:
        instance: that remembers them.
        graph: of all definitions, whose checks say what they read.
        dataset: whose runs; of all datasets, and those of none, where not given.
        dry_run: delete nothing.

    Raises:
        ValueError: ``RAW2RANK_KEEP_RUNS`` is not possible.
        TypeError: the instance keeps its events in no SQL database.
    """
    keep = kept_runs()
    tags = {PARTITION_NAME_TAG: dataset} if dataset else {}
    records = instance.get_run_records(filters=dg.RunsFilter(statuses=list(FINISHED_STATUSES), tags=tags))
    newer: Counter[str] = Counter()
    old = []
    # the newest first
    for record in records:
        of = record.dagster_run.tags.get(PARTITION_NAME_TAG, "")
        newer[of] += 1
        if newer[of] > keep:
            old.append(record.dagster_run.run_id)
    needed = _needed_runs(instance, graph) if old else set()
    old = [run_id for run_id in old if run_id not in needed]
    total = instance.get_runs_count(filters=dg.RunsFilter(tags=tags))
    if dry_run:
        return Forgotten(len(old), total, sum(map(_size, _files_of(instance, old))))
    before = _size_of_storage(instance)
    for run_id in old:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
        for path in _files_of(instance, [run_id]):
            path.unlink(missing_ok=True)
    _delete_evaluations(instance, old)
    problem = _shrink(instance) if old else ""
    return Forgotten(len(old), total, max(before - _size_of_storage(instance), 0), problem)


def in_words(forgotten: Forgotten) -> list[str]:
    """Sentences on what was deleted; none where nothing was."""
    sentences = (
        [f"{forgotten.runs} of {forgotten.of} runs in Dagster, {size(forgotten.bytes)}"] if forgotten.runs else []
    )
    return [*sentences, *([forgotten.problem] if forgotten.problem else [])]


def _needed_runs(instance: dg.DagsterInstance, graph: BaseAssetGraph) -> set[str]:
    """Ids of the runs whose events the plan and the UI read, however old they are."""
    table, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    newest = (
        sa.select(sa.func.max(table.id))
        .where(table.asset_key.is_not(None), table.dagster_event_type.in_((MADE, OBSERVED, PLANNED)))
        .group_by(table.asset_key, table.partition, table.dagster_event_type)
    )
    latest = _rows(
        instance,
        sa.select(table.id, table.run_id, table.asset_key, table.dagster_event_type, table.event).where(
            table.id.in_(newest)
        ),
    )
    needed = {run_id for _, run_id, *_ in latest}
    made_of: set[int] = set()
    for _, _, _, kind, event in latest:
        if kind == MADE:
            provenance = dg.DataProvenance.from_tags(deserialize_value(event, dg.EventLogEntry).tags or {})
            made_of |= {place for place in (provenance.input_storage_ids if provenance else {}).values() if place}
    needed |= _runs_of(instance, made_of)
    of_made = sa.select(sa.func.max(checks.id)).group_by(
        checks.asset_key, checks.check_name, checks.materialization_event_storage_id
    )
    current = {storage_id for storage_id, *_ in latest}
    read_at: dict[str, set[int]] = defaultdict(set)
    reads = _reads(graph)
    query = sa.select(
        checks.run_id,
        checks.asset_key,
        checks.check_name,
        checks.evaluation_event_storage_id,
        checks.materialization_event_storage_id,
    ).where(checks.id.in_(of_made))
    for run_id, asset, check, storage_id, target in _rows(instance, query):
        if target in current:
            needed.add(run_id)
            for read in reads.get((asset, check), ()):
                read_at[read].add(storage_id or 0)
    return needed | _runs_of(instance, _events_before(instance, read_at))


def _reads(graph: BaseAssetGraph) -> dict[tuple[str, str], list[str]]:
    """By asset and name of check, the assets beside its own that it reads; keys as they are stored."""
    return {
        (check.asset_key.to_string(), check.name): [
            dg.AssetKey.from_user_string(read).to_string() for read in graph.get(check).metadata[CHECK_READS]
        ]
        for key in graph.get_all_asset_keys()
        for check in graph.get(key).check_keys
        if CHECK_READS in graph.get(check).metadata
    }


def _events_before(instance: dg.DagsterInstance, read_at: dict[str, set[int]]) -> set[int]:
    """Of each asset and dataset the last event before each of some moments, given as storage ids."""
    table = SqlEventLogStorageTable.c
    query = (
        sa.select(table.asset_key, table.partition, table.id)
        .where(table.asset_key.in_(read_at), table.dagster_event_type.in_((MADE, OBSERVED)))
        .order_by(table.id)
    )
    events: dict[tuple[str, str], list[int]] = defaultdict(list)
    for asset, partition, storage_id in _rows(instance, query) if read_at else ():
        events[asset, partition].append(storage_id)
    places = {
        ids[place - 1]
        for (asset, _), ids in events.items()
        for moment in read_at[asset]
        if (place := bisect_right(ids, moment))
    }
    return places


def _runs_of(instance: dg.DagsterInstance, storage_ids: Iterable[int]) -> set[str]:
    table = SqlEventLogStorageTable.c
    return {
        run_id
        for some in _parts(sorted(storage_ids))
        for (run_id,) in _rows(instance, sa.select(table.run_id).where(table.id.in_(some)))
    }


def _delete_evaluations(instance: dg.DagsterInstance, run_ids: list[str]) -> None:
    """Delete what deleted runs found of checks: ``delete_run`` leaves it, and nothing leads to it any more."""
    for some in _parts(run_ids):
        with storage_of(instance).index_connection() as connection:
            connection.execute(sa.delete(AssetCheckExecutionsTable).where(AssetCheckExecutionsTable.c.run_id.in_(some)))


def _parts(values: list) -> Iterator[list]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _rows(instance: dg.DagsterInstance, query: sa.Select) -> list:
    return rows_of(storage_of(instance), query)


def _files_of(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> Iterator[Path]:
    """The SQLite files of some runs: Dagster empties them with the run and leaves them."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for run_id in run_ids:
            path = Path(storage.path_for_shard(run_id))
            yield from (one for ending in ("", "-wal", "-shm") if (one := Path(f"{path}{ending}")).exists())


def _shrink(instance: dg.DagsterInstance) -> str:
    """Give the room that was freed in SQLite files back to the disk; a sentence on one that could not be.

    Programs that have a file open go on with it. While one of them writes, the file is left as it is.
    """
    folder = _folder_of_sqlite(instance)
    problems = []
    # those of single runs are left as they are, or gone
    for path in (folder / "runs.db", folder / "runs" / "index.db") if folder else ():
        try:
            with closing(sqlite3.connect(path, timeout=_PATIENCE)) as connection:
                connection.execute("vacuum")
                connection.execute("pragma wal_checkpoint(truncate)")
        except sqlite3.OperationalError as error:
            problems.append(f"{path.name} was not made smaller ({error}): the next clean does it")
    return "; ".join(problems)


def _folder_of_sqlite(instance: dg.DagsterInstance) -> Path | None:
    storage = instance.event_log_storage
    # the databases of events lie in a folder beside that of runs
    return Path(storage.path_for_shard("index")).parents[1] if isinstance(storage, SqliteEventLogStorage) else None


def _size_of_storage(instance: dg.DagsterInstance) -> int:
    """Bytes on disk of SQLite files and of the logs of processes."""
    folders = [_folder_of_sqlite(instance), Path(instance.root_directory) / "storage"]
    return sum(_size(path) for folder in folders if folder for path in folder.rglob("*") if path.is_file())


def _size(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
