"""What the schedule and the sensor ask for: runs that make again what has gone out of date, and no more."""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

from orchestration.assets.raw import observe
from orchestration.assets.settings import chosen_for
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.recommenders import unwanted
from orchestration.resources import Settings
from orchestration.staleness import out_of_date


def register(instance: dg.DagsterInstance, dataset: str) -> None:
    """Make a dataset known, as a partition and in the workspace; nothing where it is already."""
    paths = Workspace.current().dataset(dataset)
    if not paths.registration.exists():
        paths.register(None)
    if not instance.has_dynamic_partition(datasets.name, dataset):
        instance.add_dynamic_partitions(datasets.name, [dataset])


def run_request(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str, run_key: str | None = None
) -> dg.RunRequest | None:
    """A run of what is out of date for one dataset, of what was last chosen for it; ``None`` where nothing is."""
    wanted = graph.materializable_asset_keys - unwanted(graph, chosen_for(Settings(), dataset))
    reasons = out_of_date(instance, graph, dataset, wanted)
    if not reasons:
        return None
    return dg.RunRequest(run_key=run_key, partition_key=dataset, asset_selection=sorted(reasons))


def run_requests(instance: dg.DagsterInstance, graph: BaseAssetGraph) -> list[dg.RunRequest]:
    """Fingerprint the dumps of every registered dataset and ask for a run where something is out of date."""
    requests = []
    for dataset in instance.get_dynamic_partitions(datasets.name):
        observe(instance, dataset)
        request = run_request(instance, graph, dataset)
        if request:
            requests.append(request)
    return requests
