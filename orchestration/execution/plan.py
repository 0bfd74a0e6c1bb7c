"""The plan: assets of a dataset to make again, with reasons; the same for commands, schedule and sensor.

An asset is made again where its code, its files, a setting or the content of something it reads is not what it was made
of; where a run set out to make it and did not; where its checks have not passed, or were of another contract; and where
something above it is made again. That is what the badges of the UI show, and the checks besides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import dagster as dg

from orchestration.dagster_internals import BaseAssetGraph
from orchestration.dataset_settings import chosen_for, named_for, versions_of
from orchestration.execution.crash_recovery import missing
from orchestration.execution.records import Made, Records
from orchestration.execution.staleness import (
    CHECK_READS,
    CONTRACT_DIGEST,
    LEFT_OUT,
    NOT_CHOSEN,
    SHOWS_CHECKS,
    UP_TO_DATE,
    in_order,
    unpassed_of,
)
from orchestration.paths import Workspace
from orchestration.resources import Settings
from orchestration.selection import unwanted


def plan(
    instance: dg.DagsterInstance,
    graph: BaseAssetGraph,
    dataset: str,
    settings: Settings | None = None,
    dumps: Mapping[dg.AssetKey, str] | None = None,
    run_id: str | None = None,
) -> dict[dg.AssetKey, str]:
    """The assets of a dataset that have to be made again, each with the reason, in the order of the graph.

    Args:
        instance: that knows what was made.
        graph: of all definitions.
        dataset: its name.
        settings: that a run is to have; what they leave open, and ``None``, is as it was written down for the dataset.
        dumps: data versions of raw dumps as they are now, where they may not have been recorded yet.
        run_id: the run that asks, under way: what it has set out to make is not what an earlier one left unmade.
    """
    settings = settings or Settings()
    wanted = graph.materializable_asset_keys - unwanted(graph, chosen_for(settings, dataset))
    records = Records(instance, dataset, graph.get_all_asset_keys(), run_id)
    changed = _changed(records, graph, dataset, wanted, settings, dumps or {})
    order = in_order(graph, wanted)
    made: dict[dg.AssetKey, str] = {}
    for key in order:
        above = sorted(graph.get(key).parent_keys & made.keys())
        if key in changed:
            made[key] = changed[key]
        elif above:
            made[key] = f"{above[0].to_user_string()} is made again"
        elif unpassed := unpassed_of(records, graph, key):
            made[key] = f"check {unpassed[0].name} has not passed"
    # made again to be checked again: its content stays, and so does what lies below
    checked = {
        key: why for key in order if key not in made and (why := _checked_otherwise(records, graph, key, made.keys()))
    }
    shown = {
        key: f"{others[0].to_user_string()} is checked again"
        for key in wanted - made.keys()
        if SHOWS_CHECKS in graph.get(key).metadata
        and (others := sorted(checked) or _checked_since(records, wanted - {key}, records.made[key]))
    }
    reasons = made | shown | checked
    return {key: reasons[key] for key in order if key in reasons}


def up_to_date(instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str) -> set[dg.AssetKey]:
    """Assets that were made of what is there now, whatever their checks found: nothing above them has changed."""
    settings = Settings()
    wanted = graph.materializable_asset_keys - unwanted(graph, chosen_for(settings, dataset))
    records = Records(instance, dataset, graph.get_all_asset_keys())
    changed = _changed(records, graph, dataset, wanted, settings, {})
    current: set[dg.AssetKey] = set()
    for key in in_order(graph, wanted):
        if key not in changed and graph.get(key).parent_keys & wanted <= current:
            current.add(key)
    return current


def _changed(
    records: Records,
    graph: BaseAssetGraph,
    dataset: str,
    keys: Iterable[dg.AssetKey],
    settings: Settings,
    dumps: Mapping[dg.AssetKey, str],
) -> dict[dg.AssetKey, str]:
    """Assets that are not as they would be made now, from what is there now, each with the reason."""
    keys = set(keys)
    lost = missing(Workspace.current().dataset(dataset), keys)
    versions = {dg.AssetKey(["settings", name]): version for name, version in versions_of(settings, dataset).items()}
    named = named_for(settings, dataset)
    reasons = {}
    for key in keys:
        made = records.made.get(key)
        if made is None or made.version == NOT_CHOSEN or (made.version == LEFT_OUT and key.path[-1] in named):
            reasons[key] = "not made yet"
        elif why := _made_of_something_else(records, graph, key, dumps):
            reasons[key] = why
        elif records.planned.get(key, 0) > made.storage_id:
            # its files may be those of the run that was killed, or failed, before it could say so
            reasons[key] = "an earlier run ended before making it"
        elif key in lost:
            reasons[key] = "its files are missing"
        elif key in versions and versions[key] != made.version:
            reasons[key] = "settings changed"
    return reasons


def _made_of_something_else(
    records: Records, graph: BaseAssetGraph, key: dg.AssetKey, dumps: Mapping[dg.AssetKey, str]
) -> str:
    """The code or input that changed since an asset was made; empty if none did.

    As Dagster decides it: an input counts by its content, not by when it was made.
    """
    made, parents = records.made[key], graph.get(key).parent_keys
    if made.provenance is None:
        # somebody reported it, so that nothing is known of its inputs but their age
        newer = [parent for parent in parents if _storage_id(records, parent) > made.storage_id]
        return f"{min(newer).to_user_string()} changed" if newer else ""
    if graph.get(key).code_version not in (None, made.provenance.code_version):
        return "its code changed"
    seen = made.provenance.input_storage_ids
    for parent in sorted(parents | seen.keys()):
        name = parent.to_user_string()
        if parent not in parents:
            return f"it no longer reads {name}"
        if parent not in seen:
            return f"it now reads {name}"
        now = dumps.get(parent) or _content(records.made[parent].version if parent in records.made else None)
        if now != _content(records.version_at(parent, seen[parent])):
            return f"{name} changed"
    return ""


def _checked_otherwise(
    records: Records, graph: BaseAssetGraph, key: dg.AssetKey, made_again: Collection[dg.AssetKey]
) -> str:
    """The reason for running the checks of an asset again; empty if there is none."""
    evaluations = records.evaluations.get(key, {})
    for check in sorted(graph.get(key).check_keys):
        found = evaluations.get(check.name)
        if found is None:
            continue
        node = graph.get(check)
        if CONTRACT_DIGEST in node.metadata:
            digest = found.evaluation.metadata.get(CONTRACT_DIGEST)
            if digest is None or digest.value != node.metadata[CONTRACT_DIGEST]:
                return "contract changed"
        # a test of dbt that looks at a second table is not held again for that one
        for read in map(dg.AssetKey.from_user_string, node.metadata.get(CHECK_READS, ())):
            now = records.made[read].version if read in records.made else None
            if read in made_again or now != records.version_at(read, found.storage_id):
                return f"{read.to_user_string()} changed, which check {check.name} reads"
    return ""


def _checked_since(records: Records, keys: Iterable[dg.AssetKey], made: Made) -> list[dg.AssetKey]:
    """The given assets that were checked after another one was made."""
    return sorted(
        key
        for key in keys
        if any(
            found.storage_id > made.storage_id
            for name, found in records.evaluations.get(key, {}).items()
            if name != UP_TO_DATE
        )
    )


def _storage_id(records: Records, key: dg.AssetKey) -> int:
    return records.made[key].storage_id if key in records.made else 0


def _content(version: str | None) -> str | None:
    """Content that a data version stands for: an asset that was not chosen has none."""
    return None if version == NOT_CHOSEN else version
