"""What the schedule and the sensor ask for: runs that make again what has gone out of date, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterable

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

from orchestration.assets.raw import changed_dumps, dump_versions, observe
from orchestration.assets.settings import chosen_for
from orchestration.partitions import NAME as PARTITIONS
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.recommenders import unwanted
from orchestration.reporting import digest_of
from orchestration.resources import Settings
from orchestration.staleness import out_of_date, under_another_contract

# a run and one more, where the first failed
_MOST_TRIES = 2


def out_of_date_now(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str, changed: Iterable[dg.AssetKey] = ()
) -> set[dg.AssetKey]:
    """What has to be made again for a dataset, of what was last chosen for it.

    ``changed`` are raw dumps whose content is not the one that was last recorded; all that lies below them counts. So
    does an asset whose contract has changed, as in `make run`.
    """
    wanted = graph.materializable_asset_keys - unwanted(graph, chosen_for(Settings(), dataset))
    below = dg.AssetSelection.assets(*changed).downstream().resolve(graph) if changed else set()
    another_contract = under_another_contract(instance, graph, dataset, wanted)
    return set(out_of_date(instance, graph, dataset, wanted)) | another_contract | (wanted & below)


def run_requests(instance: dg.DagsterInstance, graph: BaseAssetGraph, at: str = "") -> list[dg.RunRequest]:
    """Fingerprint the dumps of every registered dataset and ask for a run where something is out of date.

    ``at`` is the time that the schedule asks for; it makes the keys of the runs unique.
    """
    requests = []
    for dataset in instance.get_dynamic_partitions(PARTITIONS):
        observe(instance, dataset)
        if selected := out_of_date_now(instance, graph, dataset):
            requests.append(
                dg.RunRequest(run_key=f"{dataset}-{at}", partition_key=dataset, asset_selection=sorted(selected))
            )
    return requests


def sense(instance: dg.DagsterInstance, graph: BaseAssetGraph, cursor: str | None) -> dg.SensorResult:
    """What the sensor asks for at one tick. Nothing is written here, so that a preview of the tick changes nothing.

    The cursor holds, for each dataset, what was last asked for (``state``, a digest of the contents of its dumps and of
    the assets), under which run key, how often, and how many runs were asked for in all, which makes each key unique.
    """
    workspace = Workspace.current()
    known = set(instance.get_dynamic_partitions(PARTITIONS))
    asked = json.loads(cursor) if cursor else {}
    requests, events, notes = [], [], []
    found = sorted({*workspace.landed(), *workspace.registered()})
    for dataset in found:
        dumps = dump_versions(dataset)
        observations = changed_dumps(instance, dataset, dumps)
        events += observations
        selected = out_of_date_now(instance, graph, dataset, [event.asset_key for event in observations])
        if not selected:
            continue
        versions = {kind: version for kind, (version, _) in dumps.items()}
        state = digest_of([versions, sorted(key.to_user_string() for key in selected)])
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
    new = [dataset for dataset in found if dataset not in known]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else "; ".join(notes) or "no dump has changed",
        cursor=json.dumps(asked, sort_keys=True),
        dynamic_partitions_requests=[datasets.build_add_request(new)] if new else [],
        asset_events=events,
    )


def _status(instance: dg.DagsterInstance, run_key: str) -> dg.DagsterRunStatus | None:
    runs = instance.get_runs(filters=dg.RunsFilter(tags={"dagster/run_key": run_key}), limit=1)
    return runs[0].status if runs else None
