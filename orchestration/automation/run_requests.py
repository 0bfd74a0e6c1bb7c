"""Run requests of the schedule and the sensor, for the assets that are out of date.

A dataset whose files or settings cannot be read is named, and the others are asked for nevertheless.
"""

from __future__ import annotations

import json

import dagster as dg

from orchestration.assets.raw import changed_dumps, dump_versions, observe, version_by_key
from orchestration.automation.registration import find
from orchestration.dagster_internals import BaseAssetGraph
from orchestration.dataset_settings import versions_of
from orchestration.execution.plan import plan
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import collect_problems, digest_of
from orchestration.resources import Settings

# a run and one more, where the first failed
_MOST_TRIES = 2


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
                requests.append(
                    dg.RunRequest(run_key=f"{dataset}-{at}", partition_key=dataset, asset_selection=sorted(selected))
                )
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
            if not selected:
                continue
            settings = versions_of(Settings(), dataset)
            state = digest_of([sorted(versions.values()), settings, sorted(key.to_user_string() for key in selected)])
            last = asked.get(dataset, {"runs": 0})
            tries = last["tries"] if last.get("state") == state else 0
            if tries:
                status = _status(instance, last["key"])
                if status not in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
                    notes.append(f"{dataset}: a run was asked for")
                    continue
                if tries >= _MOST_TRIES:
                    notes.append(f"{dataset}: {tries} runs failed; see the last one, and launch it again by hand")
                    continue
            key = f"{dataset}-{state[:12]}-{last['runs'] + 1}"
            asked[dataset] = {"state": state, "key": key, "tries": tries + 1, "runs": last["runs"] + 1}
            requests.append(dg.RunRequest(run_key=key, partition_key=dataset, asset_selection=sorted(selected)))
    new = [dataset for dataset in found.datasets if dataset not in known]
    result = dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else "; ".join([*notes, *problems]) or "no dump has changed",
        cursor=json.dumps(asked, sort_keys=True),
        dynamic_partitions_requests=[datasets.build_add_request(new)] if new else [],
        asset_events=events,
    )
    return result, problems


def _status(instance: dg.DagsterInstance, run_key: str) -> dg.DagsterRunStatus | None:
    runs = instance.get_runs(filters=dg.RunsFilter(tags={"dagster/run_key": run_key}), limit=1)
    return runs[0].status if runs else None
