"""Run requests of the schedule and the sensor, for the assets that are out of date.

A dataset whose files or settings cannot be read is named, and the others are asked for nevertheless.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

import dagster as dg

from orchestration.assets.raw import changed_dumps, dump_versions, not_read, observe, version_by_key
from orchestration.automation.registration import find
from orchestration.dagster_internals import BaseAssetGraph
from orchestration.dataset_lock import DatasetLock
from orchestration.dataset_settings import versions_of
from orchestration.execution.phases import ONLY_WHAT_CHANGED
from orchestration.execution.plan import plan
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import collect_problems, digest_of
from orchestration.resources import Settings

# a run and one more, where the first failed
_MOST_TRIES = 2
# within which a run that was launched takes the lock of its dataset, on a busy machine too
_SECONDS_TO_START = 600


def run_requests(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, at: str = ""
) -> tuple[list[dg.RunRequest], list[str]]:
    """Fingerprint the dumps of every registered dataset and ask for a run where something is out of date.

    Args:
        instance: that knows the datasets.
        graph: of all definitions.
        at: the time that the schedule asks for; it makes the keys of the runs unique.

    Returns:
        The runs, and a sentence on each dataset that could not be looked at.
    """
    requests: list[dg.RunRequest] = []
    problems: list[str] = []
    for dataset in instance.get_dynamic_partitions(datasets.name):
        with collect_problems(dataset, problems):
            observe(instance, dataset)
            if selected := plan(instance, graph, dataset):
                requests.append(_request(f"{dataset}-{at}", dataset, selected))
    return requests, problems


def sense(instance: dg.DagsterInstance, graph: BaseAssetGraph, cursor: str | None) -> tuple[dg.SensorResult, list[str]]:
    """Evaluate one tick of the sensor. Nothing is written, so that a preview of a tick changes nothing.

    The cursor holds, for each dataset, what was last asked for (``state``, a digest of the contents of its dumps, of
    its settings and of the assets), under which run key, how often, and how many runs were asked for in all, which
    makes each key unique.

    Returns:
        The result, and a sentence on each dataset or folder that could not be looked at.
    """
    known = set(instance.get_dynamic_partitions(datasets.name))
    asked = json.loads(cursor) if cursor else {}
    requests, events, notes = [], [], []
    found = find(Workspace.current())
    problems = list(found.passed_over)
    for dataset in found.datasets:
        with collect_problems(dataset, problems):
            dumps = dump_versions(dataset)
            observations = changed_dumps(instance, dataset, dumps)
            versions = version_by_key(dumps)
            selected = plan(instance, graph, dataset, dumps=versions)
            events += observations
            notes += [f"{dataset}: {sentence}" for sentence in not_read(dumps)]
            if not selected:
                continue
            settings = versions_of(Settings(), dataset)
            state = digest_of([sorted(versions.values()), settings, sorted(key.to_user_string() for key in selected)])
            last = asked.get(dataset, {"runs": 0})
            record = _record(instance, last["key"]) if "key" in last else None
            if record is not None and _is_under_way(record, dataset):
                # what is out of date changes while it makes one asset after another; what lands now is seen after it
                notes.append(f"{dataset}: a run is under way")
                continue
            tries = last["tries"] if last.get("state") == state else 0
            if tries:
                status = None if record is None else record.dagster_run.status
                if status not in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
                    notes.append(f"{dataset}: a run was asked for")
                    continue
                if tries >= _MOST_TRIES:
                    notes.append(f"{dataset}: {tries} runs failed; see the last one, and launch it again by hand")
                    continue
            key = f"{dataset}-{state[:12]}-{last['runs'] + 1}"
            asked[dataset] = {"state": state, "key": key, "tries": tries + 1, "runs": last["runs"] + 1}
            requests.append(_request(key, dataset, selected))
    new = [dataset for dataset in found.datasets if dataset not in known]
    result = dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else "; ".join([*notes, *problems]) or "no dump has changed",
        cursor=json.dumps(asked, sort_keys=True),
        dynamic_partitions_requests=[datasets.build_add_request(new)] if new else [],
        asset_events=events,
    )
    return result, problems


def _request(run_key: str, dataset: str, selected: Iterable[dg.AssetKey]) -> dg.RunRequest:
    """A run on all that may be out of date; it leaves what turns out not to be."""
    return dg.RunRequest(
        run_key=run_key, partition_key=dataset, asset_selection=sorted(selected), tags=ONLY_WHAT_CHANGED
    )


def _record(instance: dg.DagsterInstance, run_key: str) -> dg.RunRecord | None:
    """The record of a run that was asked for; ``None`` where there is none yet."""
    records = instance.get_run_records(dg.RunsFilter(tags={"dagster/run_key": run_key}), limit=1)
    return records[0] if records else None


def _is_under_way(record: dg.RunRecord, dataset: str) -> bool:
    """Whether a run waits or works; one whose process was killed does neither, whatever its record says."""
    if record.dagster_run.is_finished:
        return False
    if record.dagster_run.status == dg.DagsterRunStatus.QUEUED:
        return True
    age = time.time() - record.create_timestamp.timestamp()
    return age < _SECONDS_TO_START or DatasetLock(Workspace.current().dataset(dataset)).is_held()
