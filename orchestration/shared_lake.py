"""The checked data of a dataset in object storage, for other machines: ``RAW2RANK_SHARED_LAKE`` names the place.

Published are the landing, the staged tables, the marts and the settings that they were made with, and the lineage that
Dagster records of them. A machine that fetches a state has the same files, and records by which it knows that they
are up to date; it goes on from there. What is fitted on the data stays on the machine that fitted it.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from ml.data.files import DamagedFile, atomic_file, read_json, working_folder
from ml.data.object_storage import lake
from ml.data.object_storage.location import Location, StorageError
from ml.data.versions import kept_before, versioned_folder, versions_of
from orchestration.dagster_internals import (
    AssetCheckEvaluationTargetMaterializationData,
    AssetMaterializationPlannedData,
    deserialize_value,
    serialize_value,
)
from orchestration.execution.plan import plan
from orchestration.execution.records import Records
from orchestration.execution.staleness import CHECKED_LAYERS, asset_graph, in_order, unpassed_checks
from orchestration.partitions import PARTITION_NAME_TAG, datasets
from orchestration.paths import DatasetPaths, WorkspaceError
from orchestration.versions import Freed

LAKE_VARIABLE = "RAW2RANK_SHARED_LAKE"
_SETTINGS = dg.AssetKey(["settings", "dataset"])
_LINEAGE = "lineage/events"
_POINTER_TAG = "dagster/input_event_pointer/"


def lake_of(dataset: str) -> Location | None:
    """Where the data of a dataset is published; ``None`` where ``RAW2RANK_SHARED_LAKE`` is not set.

    Raises:
        WorkspaceError: it is no URL that can be used.
    """
    text = os.environ.get(LAKE_VARIABLE, "").strip()
    if not text:
        return None
    try:
        place = Location.of(text)
    except ValueError as error:
        raise WorkspaceError(f"{LAKE_VARIABLE}: {error}") from error
    if place is None:
        raise WorkspaceError(f"{LAKE_VARIABLE}={text} is no URL: give one such as s3://bucket/prefix")
    return place / dataset


def required_lake_of(dataset: str) -> Location:
    """As :func:`lake_of`, where a lake is asked for.

    Raises:
        WorkspaceError: ``RAW2RANK_SHARED_LAKE`` is not set, or is no URL that can be used.
    """
    place = lake_of(dataset)
    if place is None:
        raise WorkspaceError(f"{LAKE_VARIABLE} is not set: give the URL of the lake, such as s3://bucket/prefix")
    return place


def publish(instance: dg.DagsterInstance, paths: DatasetPaths) -> str:
    """Publish the data of a dataset as it lies in the lake of the workspace, and say so; whoever calls holds the lock.

    Raises:
        StorageError: it cannot be written; what was published before stays.
        WorkspaceError: the data is not up to date, or has not passed its checks.
    """
    place = required_lake_of(paths.dataset)
    graph, keys = asset_graph(), _keys()
    stale = sorted(key.to_user_string() for key in plan(instance, graph, paths.dataset) if key in keys)
    unpassed = unpassed_checks(instance, graph, paths.dataset, keys)
    if stale or unpassed:
        why = f"{stale[0]} is out of date" if stale else f"check {unpassed[0].name} has not passed"
        raise WorkspaceError(
            f"{paths.dataset} is not published, because {why}: make run DATASET={paths.dataset} makes what is missing"
        )
    sources = {"/".join(key.path): source for key in keys if (source := _source(paths, key)) is not None}
    with working_folder(paths.home / "temporary") as working:
        events = working / "events.json"
        events.write_text(json.dumps(_lineage(instance, paths.dataset), indent=1) + "\n", encoding="utf-8")
        notes = {"training_set": _training_set(paths), "files": _files(paths)}
        before = lake.current(place)
        state, written = lake.publish(place, {**sources, _LINEAGE: events}, notes)
    lake.pin(place, _released(paths))
    what = "is published" if before is not None and before.digest == state.digest else "was published"
    return f"{paths.dataset}: state {state.digest[:12]} of its data {what} in {place} ({written} files written)"


def fetch(instance: dg.DagsterInstance, paths: DatasetPaths) -> str:
    """Put the published data of a dataset in place of what there is, and say so; whoever calls holds the lock.

    Raises:
        StorageError: nothing is published, or it cannot be read. The workspace is then as it was.
    """
    place = required_lake_of(paths.dataset)
    state = lake.current(place)
    if state is None:
        raise StorageError(f"nothing of {paths.dataset} is published in {place}: publish it where it was made")
    with working_folder(paths.home / "temporary") as working:
        lake.bring(place, state, working)
        events = json.loads((working / "lineage" / "events.json").read_text(encoding="utf-8"))
        run = _begin(instance, paths.dataset)
        for asset in state.assets:
            if asset != _LINEAGE:
                _put_in_place(working, asset, state, paths.lake)
    if (files := state.notes.get("files")) and not paths.registration.exists():
        paths.register(Location.of(files["dumps"]), files.get("layout"))
    if not instance.has_dynamic_partition(datasets.name, paths.dataset):
        instance.add_dynamic_partitions(datasets.name, [paths.dataset])
    # derived from the landing, and not of this one
    paths.warehouse.unlink(missing_ok=True)
    _record(instance, paths.dataset, events, run)
    return f"{paths.dataset}: state {state.digest[:12]} of its data was fetched from {place}"


def clean(paths: DatasetPaths, dry_run: bool = False) -> Iterator[Freed]:
    """Remove published states beyond ``RAW2RANK_KEEP``, and what broken-off publications left; none without a lake.

    Raises:
        StorageError: the lake cannot be read or written.
    """
    place = lake_of(paths.dataset)
    if place is None:
        return
    if not dry_run:
        lake.pin(place, _released(paths))
    for name, size in lake.clean(place, kept_before(), dry_run).items():
        yield Freed(f"{place}/{name}", size)


def _keys() -> set[dg.AssetKey]:
    graph = asset_graph()
    data = {key for key in graph.materializable_asset_keys if graph.get(key).group_name in CHECKED_LAYERS}
    return data | {_SETTINGS}


def _source(paths: DatasetPaths, key: dg.AssetKey) -> Path | None:
    """The file or folder of an asset; ``None`` where it is kept in the warehouse alone."""
    path = paths.asset(*key.path)
    found = [place for ending in ("", ".parquet", ".json") if (place := path.with_name(path.name + ending)).exists()]
    return found[0] if found else None


def _put_in_place(working: Path, asset: str, state: lake.State, target: Path) -> None:
    names = state.assets[asset]["files"]
    kind = state.assets[asset]["kind"]
    if kind == "file":
        layer, (name,) = asset.rpartition("/")[0], names
        with atomic_file(target / layer / name) as file:
            shutil.copyfile(working / layer / name, file)
        return
    parts = sorted({f"{asset}/{name.partition('/')[0]}" for name in names}) if kind == "folders" else [asset]
    for part in parts:
        with versioned_folder(target / part) as folder:
            shutil.copytree(working / part, folder, dirs_exist_ok=True)


def _lineage(instance: dg.DagsterInstance, dataset: str) -> list[dict[str, Any]]:
    """The last event of each asset of the data, above before below, with those of its checks."""
    graph, wanted = asset_graph(), _keys()
    wanted |= {parent for key in wanted for parent in graph.get(key).parent_keys}
    records = Records(instance, dataset, wanted)
    told = []
    for key in in_order(graph, records.made):
        checks = sorted(records.evaluations.get(key, {}).items())
        told.append(
            {
                "event": serialize_value(_last_event(instance, dataset, key, key in graph.materializable_asset_keys)),
                "checks": [serialize_value(_evaluation(each.evaluation, dataset, 0)) for _, each in checks],
            }
        )
    return told


def _last_event(
    instance: dg.DagsterInstance, dataset: str, key: dg.AssetKey, is_made: bool
) -> dg.AssetMaterialization | dg.AssetObservation:
    """The last materialisation of an asset, or observation of dumps, without what is true of one machine alone."""
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[dataset])
    if is_made:
        (record,) = instance.fetch_materializations(wanted, limit=1).records
        event: Any = record.asset_materialization
    else:
        (record,) = instance.fetch_observations(wanted, limit=1).records
        event = record.asset_observation
    metadata = {name: value for name, value in event.metadata.items() if name != "dagster/uri"}
    # events are numbered by each instance
    tags = {tag: "NULL" if tag.startswith(_POINTER_TAG) else value for tag, value in (event.tags or {}).items()}
    return type(event)(key, description=event.description, metadata=metadata, partition=dataset, tags=tags)


def _evaluation(found: dg.AssetCheckEvaluation, dataset: str, storage_id: int) -> dg.AssetCheckEvaluation:
    """What a check found, as said of one event of its asset."""
    return dg.AssetCheckEvaluation(
        asset_key=found.asset_key,
        check_name=found.check_name,
        passed=found.passed,
        metadata=found.metadata,
        target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
            storage_id=storage_id, run_id="", timestamp=0.0
        ),
        severity=found.severity,
        description=found.description,
        blocking=found.blocking,
        partition=dataset,
    )


def _begin(instance: dg.DagsterInstance, dataset: str) -> dg.DagsterRun:
    """Record that the data is about to be put in place: what is known of the present one does not count until then."""
    run = dg.DagsterRun(
        job_name="fetch",
        run_id=str(uuid.uuid4()),
        status=dg.DagsterRunStatus.SUCCESS,
        tags={PARTITION_NAME_TAG: dataset, "raw2rank/command": "make fetch"},
    )
    instance.add_run(run)
    for key in sorted(Records(instance, dataset, _keys()).made):
        planned = AssetMaterializationPlannedData(key, partition=dataset)
        _report(instance, run, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, planned)
    return run


def _report(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType, data: Any) -> None:
    event = dg.DagsterEvent(event_type_value=kind.value, job_name=run.job_name, event_specific_data=data)
    instance.report_dagster_event(event, run_id=run.run_id)


def _record(instance: dg.DagsterInstance, dataset: str, events: Iterable[dict[str, Any]], run: dg.DagsterRun) -> None:
    """Record the lineage of another machine here, with the events of this instance as the inputs of those below."""
    recorded: dict[str, int] = {}
    for entry in events:
        event: Any = deserialize_value(entry["event"], (dg.AssetMaterialization, dg.AssetObservation))
        key = event.asset_key
        tags = dict(event.tags or {})
        for tag in tags:
            if tag.startswith(_POINTER_TAG) and (parent := tag.removeprefix(_POINTER_TAG)) in recorded:
                tags[tag] = str(recorded[parent])
        instance.report_runless_asset_event(
            type(event)(key, description=event.description, metadata=event.metadata, partition=dataset, tags=tags)
        )
        recorded[key.to_user_string()] = Records(instance, dataset, [key]).made[key].storage_id
        for text in entry["checks"]:
            found = deserialize_value(text, dg.AssetCheckEvaluation)
            evaluation = _evaluation(found, dataset, recorded[key.to_user_string()])
            _report(instance, run, dg.DagsterEventType.ASSET_CHECK_EVALUATION, evaluation)


def _training_set(paths: DatasetPaths) -> str:
    """Digest of the training set as it lies there; empty where there is none."""
    try:
        return read_json(paths.asset("training_sets", "sequences"), "training_set.json")["digest"]
    except (DamagedFile, KeyError, TypeError):
        return ""


def _released(paths: DatasetPaths) -> list[str]:
    """Digests of the training sets that the champions on disk were made of."""
    found = []
    for version in versions_of(paths.champion):
        try:
            found.append(read_json(version.path, "bundle.json")["digests"]["training_set"])
        except (DamagedFile, KeyError, TypeError):
            # it is not known what it was made of; nothing is unpinned for it either
            continue
    return found


def _files(paths: DatasetPaths) -> dict[str, str]:
    """What another machine may register: the URL of the dumps and their layout; empty where they lie in a folder."""
    if (url := paths.dumps_url) is None or paths.source_file is not None:
        return {}
    description = paths.source_description
    return {"dumps": str(url), **({"layout": description.layout} if description is not None else {})}
