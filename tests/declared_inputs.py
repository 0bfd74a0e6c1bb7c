"""A workspace in which an asset finds nothing but what it declares to read."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from orchestration.definitions import defs
from orchestration.execution.staleness import asset_graph
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import Settings

# Which recipes were chosen decides whether these are made, not what they are.
ASK_WHETHER_CHOSEN = ("models", "rankings", "codes", "teacher_lists")
_COMPARISON = dg.AssetKey(["settings", "comparison"])


def files_of(paths: DatasetPaths, key: dg.AssetKey) -> list[Path]:
    """What an asset left in the lake: a folder, a table or a JSON file."""
    place = paths.asset(*key.path)
    named = (place.with_name(place.name + ending) for ending in ("", ".parquet", ".json"))
    return [path for path in named if path.exists()]


def lay_out(home: Path, view: Path, dataset: str, keys: set[dg.AssetKey]) -> None:
    """Links to what the given assets left, in a workspace of its own; the registration where raw dumps are read."""
    whole, part = Workspace(home).dataset(dataset), Workspace(view).dataset(dataset)
    for key in keys:
        if key.path[0] == "raw":
            part.registration.parent.mkdir(parents=True, exist_ok=True)
            part.registration.write_bytes(whole.registration.read_bytes())
        for path in files_of(whole, key):
            link = part.lake / path.relative_to(whole.lake)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                os.symlink(path, link)


def made_of_declared_alone(
    home: Path, views: Path, instance: dg.DagsterInstance, dataset: str, keys: list[dg.AssetKey], settings: Settings
) -> Iterator[tuple[dg.AssetKey, str]]:
    """Data version of each asset, made where it finds nothing but its declared dependencies.

    Files are opened by DuckDB, Arrow and NumPy too, which no hook of Python sees; what is not there none can open.
    """
    graph, known = asset_graph(), defs.get_repository_def().assets_defs_by_key
    for number, key in enumerate(keys):
        declared = set(graph.get(key).parent_keys)
        if key.path[0] in ASK_WHETHER_CHOSEN:
            declared.add(_COMPARISON)
        view = views / str(number)
        lay_out(home, view, dataset, declared)
        asset = known[key]
        offered = {"settings": settings, "training_client": None, "trainings": None}
        resources = {name: offered[name] for name in asset.required_resource_keys & offered.keys()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAW2RANK_HOME", str(view))
            # a training in this process, not beside others of a run
            patch.setattr("orchestration.assets.models._starts_ahead", lambda *_: False)
            context = dg.build_asset_context(partition_key=dataset, instance=instance)
            yield key, asset(context, **resources).data_version.value
