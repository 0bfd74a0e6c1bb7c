"""Records of the Dagster instance for one dataset, read in a few queries.

The instance answers for one asset at a time, and a hundred assets are several hundred queries. Every storage of events
that Dagster ships (SQLite, PostgreSQL, MySQL, in memory) keeps them in the same tables; here these are asked directly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import dagster as dg
import sqlalchemy as sa

from orchestration.dagster_internals import (
    DATA_VERSION_TAG,
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
    deserialize_value,
)

MADE = dg.DagsterEventType.ASSET_MATERIALIZATION.value
OBSERVED = dg.DagsterEventType.ASSET_OBSERVATION.value
PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
# tag on the observation of an asset that a run set out to make and then left as it is
LEFT = "raw2rank/left"


@dataclass(frozen=True)
class Made:
    """An asset as it was last materialised or observed.

    Attributes:
        storage_id: of the event; later events have greater ones.
        version: its data version; ``None`` where the event has none.
        provenance: code version and inputs that it was made with; ``None`` where the event does not tell.
    """

    storage_id: int
    version: str | None
    provenance: dg.DataProvenance | None


@dataclass(frozen=True)
class Evaluated:
    """Latest evaluation of a check for the latest materialisation of its asset."""

    storage_id: int
    event: str

    @cached_property
    def evaluation(self) -> dg.AssetCheckEvaluation:
        return deserialize_value(self.event, dg.EventLogEntry).get_dagster_event().asset_check_evaluation_data


class Records:
    """The records of a dataset as they are when this is made.

    Args:
        instance: that has them.
        dataset: whose partition of the assets is asked for.
        keys: of these assets.
        run_id: a run under way, whose plans are not looked at.

    Raises:
        TypeError: the instance keeps its events in no SQL database.
    """

    def __init__(
        self, instance: dg.DagsterInstance, dataset: str, keys: Iterable[dg.AssetKey], run_id: str | None = None
    ) -> None:
        self._storage = storage_of(instance)
        self._dataset = dataset
        self._run_id = run_id
        self._keys = {key.to_string(): key for key in keys}
        self._histories: dict[dg.AssetKey, tuple[list[int], list[str | None]]] = {}
        self.made: dict[dg.AssetKey, Made] = {}
        self.planned: dict[dg.AssetKey, int] = {}
        observed: dict[dg.AssetKey, Made] = {}
        left: dict[dg.AssetKey, int] = {}
        for storage_id, name, kind, event in self._latest_events():
            key = self._keys[name]
            if kind == PLANNED:
                self.planned[key] = storage_id
                continue
            tags = deserialize_value(event, dg.EventLogEntry).tags or {}
            if LEFT in tags:
                left[key] = storage_id
                continue
            made = Made(storage_id, tags.get(DATA_VERSION_TAG), dg.DataProvenance.from_tags(tags))
            (self.made if kind == MADE else observed)[key] = made
        # what is materialised may be observed, too; its version is that of the materialisation
        self.made = {**observed, **self.made}
        # what a run then found to be up to date is not unmade
        self.planned = {key: planned for key, planned in self.planned.items() if planned > left.get(key, 0)}

    def version_at(self, key: dg.AssetKey, storage_id: int | None) -> str | None:
        """Data version of an asset as it was when the event ``storage_id`` was stored; ``None``: there was none."""
        latest = self.made.get(key)
        if latest is None or storage_id is None:
            return None
        if latest.storage_id <= storage_id:
            return latest.version
        if key not in self._histories:
            self._histories[key] = self._history(key)
        ids, versions = self._histories[key]
        place = bisect_right(ids, storage_id)
        return versions[place - 1] if place else None

    @cached_property
    def evaluations(self) -> Mapping[dg.AssetKey, Mapping[str, Evaluated]]:
        """By asset and name of check, the latest evaluation of what was last materialised."""
        table = AssetCheckExecutionsTable.c
        latest = {made.storage_id for made in self.made.values()}
        # a check that is planned or under way has found nothing yet
        finished = sa.and_(table.materialization_event_storage_id.in_(latest), table.execution_status != "PLANNED")
        newest = sa.select(sa.func.max(table.id)).where(finished).group_by(table.asset_key, table.check_name)
        query = sa.select(
            table.asset_key, table.check_name, table.evaluation_event_storage_id, table.evaluation_event
        ).where(table.id.in_(newest))
        found: dict[dg.AssetKey, dict[str, Evaluated]] = defaultdict(dict)
        for name, check, storage_id, event in self._rows(query):
            if name in self._keys:
                found[self._keys[name]][check] = Evaluated(storage_id, event)
        return found

    def _latest_events(self) -> list:
        table = SqlEventLogStorageTable.c
        newest = (
            sa.select(sa.func.max(table.id))
            .where(table.asset_key.in_(self._keys))
            .where(table.dagster_event_type.in_((MADE, OBSERVED, PLANNED)))
            .where(sa.or_(table.dagster_event_type != PLANNED, table.run_id != (self._run_id or "")))
            .where(table.partition == self._dataset)
            .group_by(table.asset_key, table.dagster_event_type)
        )
        columns = (table.id, table.asset_key, table.dagster_event_type, table.event)
        return self._rows(sa.select(*columns).where(table.id.in_(newest)))

    def _history(self, key: dg.AssetKey) -> tuple[list[int], list[str | None]]:
        """Storage ids of all that was recorded of an asset, ascending, and its data version at each."""
        events, tags = SqlEventLogStorageTable.c, AssetEventTagsTable.c
        version = sa.and_(tags.event_id == events.id, tags.key == DATA_VERSION_TAG)
        query = (
            sa.select(events.id, tags.value)
            .select_from(sa.outerjoin(SqlEventLogStorageTable, AssetEventTagsTable, version))
            .where(events.asset_key == key.to_string())
            .where(events.dagster_event_type.in_((MADE, OBSERVED)))
            .where(events.partition == self._dataset)
            .order_by(events.id)
        )
        rows = self._rows(query)
        return [storage_id for storage_id, _ in rows], [value for _, value in rows]

    def _rows(self, query: sa.Select) -> list:
        return rows_of(self._storage, query)


def storage_of(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    """The storage of events.

    Raises:
        TypeError: the instance keeps them in no SQL database.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        kind = type(storage).__name__
        raise TypeError(f"events are kept by {kind}; storages of Dagster that keep them in SQL are supported")
    return storage


def rows_of(storage: SqlEventLogStorage, query: sa.Select) -> list:
    """What a query finds among the events of all runs."""
    with storage.index_connection() as connection:
        return list(connection.execute(query).fetchall())
