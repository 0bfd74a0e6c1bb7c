"""The phases of a run. After each it is known what has really changed, and the next makes no more than that.

A corrected price changes the items and what reads them, and a model of item ids only *might* be out of date until the
training set has been made again with the same content. And nothing is fitted before all checks of the data have passed.
"""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

from orchestration.dagster_internals import DATA_VERSION_TAG, AssetObservationData, BaseAssetGraph
from orchestration.execution.records import LEFT
from orchestration.execution.staleness import CHECKED_LAYERS

# groups of assets by the name of the phase that makes them; the last makes all others
PHASES: dict[str, frozenset[str] | None] = {
    "landing": frozenset({"settings", "landing"}),
    "checked data": frozenset(CHECKED_LAYERS),
    "training set": frozenset({"training_sets"}),
    "recommenders and report": None,
}
DATA_PHASES = ("landing", "checked data")

# on the runs that schedule and sensor ask for. What somebody launches by hand is made whatever has changed
ONLY_WHAT_CHANGED = {"raw2rank/only_what_changed": "yes"}


def in_phase(graph: BaseAssetGraph, key: dg.AssetKey, groups: Collection[str] | None) -> bool:
    """Whether a phase of these groups makes an asset."""
    return groups is None or graph.get(key).group_name in groups


def leave(instance: dg.DagsterInstance, run: dg.DagsterRun, key: dg.AssetKey, dataset: str, version: str) -> None:
    """Record that a run leaves an asset as it is, which it had set out to make.

    An observation, because the storages of open-source Dagster keep no events of assets that were skipped.
    """
    observation = dg.AssetObservation(
        key,
        description="left as it is: what it is made of has the same content as when it was made",
        partition=dataset,
        tags={LEFT: "yes", DATA_VERSION_TAG: version},
    )
    event = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_OBSERVATION.value,
        job_name=run.job_name,
        message=f"{key.to_user_string()} is {observation.description}",
        event_specific_data=AssetObservationData(observation),
    )
    instance.report_dagster_event(event, run_id=run.run_id)
