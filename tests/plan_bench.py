"""A workspace whose assets are recorded as made without being made, and what each way of asking would make again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from orchestration import code_versions
from orchestration.automation.run_requests import run_requests, sense
from orchestration.commands import console
from orchestration.commands.run import make
from orchestration.dataset_settings import SLICES, chosen, version_of
from orchestration.definitions import defs
from orchestration.execution import staleness
from orchestration.execution.records import Made, Records
from orchestration.paths import Workspace
from orchestration.resources import DEFAULTS, Settings
from orchestration.selection import unwanted

NAME = "Small"
GRAPH = defs.resolve_asset_graph()
WANTED = GRAPH.materializable_asset_keys - unwanted(GRAPH, [])
RECIPES = Path(__file__).parent / "recipes"


def keys(*names: str) -> set[dg.AssetKey]:
    """Keys of the chosen assets with these names; ``layer/*`` stands for a layer."""
    found = set()
    for name in names:
        layer, _, last = name.partition("/")
        some = {key for key in WANTED if key.path[0] == layer and last in ("*", key.path[-1])}
        assert some, name
        found |= some
    return found


def names(found: Iterable[dg.AssetKey]) -> set[str]:
    return {key.to_user_string() for key in found}


def below(*roots: str, but: Iterable[str] = ()) -> set[str]:
    """Names of the chosen assets with these names, and of all that lies below them by way of chosen assets."""
    found, rest = set(), keys(*roots)
    while rest:
        found |= rest
        rest = {child for key in rest for child in GRAPH.get(key).child_keys & WANTED} - found
    return names(found & WANTED) - set(but)


def settle(
    instance: dg.DagsterInstance,
    graph,
    only: Iterable[dg.AssetKey],
    content: Callable[[dg.AssetKey], str] = lambda _: "1",
) -> None:
    """Record that assets were made of what is there now, and that their checks have passed, without making anything."""
    with instance.event_log_storage.index_connection() as connection:
        # what is reported outside of runs has one run id, and a check is evaluated once in each run
        connection.exec_driver_sql("update asset_check_executions set run_id = 'earlier ' || id where run_id = ''")
    last = {key for key in only if staleness.SHOWS_CHECKS in graph.get(key).metadata}
    # of a level only what was made in it is read again
    made = dict(Records(instance, NAME, graph.get_all_asset_keys()).made)
    for part in (set(only) - last, last):
        for level in graph.toposorted_asset_keys_by_level:
            if some := sorted(part & set(level)):
                for key in some:
                    materialize(instance, graph, made, key, content(key))
                made |= Records(instance, NAME, some).made
        for key in sorted(part):
            for check in sorted(graph.get(key).check_keys):
                evaluate(instance, graph, check, made[key].storage_id)


def materialize(instance, graph, made: Mapping[dg.AssetKey, Made], key: dg.AssetKey, version: str) -> None:
    """The event that Dagster stores of a step."""
    tags = {"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"}
    tags["dagster/code_version"] = graph.get(key).code_version or "none"
    for parent in graph.get(key).parent_keys:
        known, name = made.get(parent), parent.to_user_string()
        tags[f"dagster/input_data_version/{name}"] = (known and known.version) or "INITIAL"
        tags[f"dagster/input_event_pointer/{name}"] = str(known.storage_id) if known else "NULL"
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=NAME, tags=tags))


def evaluate(instance, graph, check: dg.AssetCheckKey, storage_id: int, passed: bool = True) -> None:
    digest = graph.get(check).metadata.get(staleness.CONTRACT_DIGEST)
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=passed,
            partition=NAME,
            metadata={} if digest is None else {staleness.CONTRACT_DIGEST: digest},
            target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                storage_id=storage_id, run_id="", timestamp=0.0
            ),
        )
    )


def write_settings(**values: object) -> None:
    """Write settings down for the dataset, as their assets do."""
    folder = Workspace.current().dataset(NAME).asset("settings")
    folder.mkdir(parents=True, exist_ok=True)
    for name in SLICES:
        (folder / f"{name}.json").write_text(json.dumps(chosen(Settings(**{**DEFAULTS, **values}), name)))


def versions(key: dg.AssetKey) -> str:
    """Content of what was made first: of settings what they are, of all else the same."""
    return version_of(chosen(Settings(**DEFAULTS), key.path[-1])) if key.path[0] == "settings" else "1"


def asked(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions = defs,
    changed: Iterable[str] | None = None,
    **settings: object,
) -> set[str]:
    """What is made again, the same by whoever asks for it.

    ``changed`` names what gets another content when it is made; ``None``: everything. ``settings`` are those of the
    command, which the schedule and the sensor read from the file of the dataset.
    """
    graph = definitions.resolve_asset_graph()
    staleness.set_asset_graph(definitions.resolve_asset_graph)
    sensed, problems = sense(instance, graph, None)
    assert problems == []
    by_sensor = {name for request in sensed.run_requests for name in names(request.asset_selection)}
    requests, problems = run_requests(instance, graph)
    assert problems == []
    by_schedule = {name for request in requests for name in names(request.asset_selection)}
    assert by_sensor == by_schedule
    assert run(instance, definitions, lambda key: _content(key, changed), **settings) == by_schedule
    return by_schedule


def _content(key: dg.AssetKey, changed: Iterable[str] | None) -> str:
    return "2" if changed is None or key.to_user_string() in changed else "1"


def run(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    content: Callable[[dg.AssetKey], str],
    **settings: object,
) -> set[str]:
    """What ``make run`` makes, where all that it makes has the given content."""
    found: set[str] = set()

    def pretend(job, instance, dataset, selection, *_) -> bool:
        found.update(names(selection))
        settle(instance, definitions.resolve_asset_graph(), selection, content_of)
        return True

    def content_of(key: dg.AssetKey) -> str:
        if key.path[0] == "settings":
            return version_of(chosen(Settings(**{**DEFAULTS, **settings}), key.path[-1]))
        return content(key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "run_quietly", pretend)
        made = make(instance, definitions, NAME, Settings(**{**DEFAULTS, **settings}))
    assert made is not None
    return found


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes())), mtime=0))


def replaced_code(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Let one module count as edited."""
    digest = code_versions._digest
    monkeypatch.setattr(code_versions, "_digest", lambda name: "changed" if name == module else digest(name))
