"""What is made again when one thing changes: the same by make run, by the schedule and by the sensor."""

from __future__ import annotations

import gzip
import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContext
from workbench import write_small_dump

from ml.baselines import BASELINES
from orchestration import code_versions, console, contract_files, recommenders, staleness
from orchestration import project as dbt
from orchestration.assets.raw import observe
from orchestration.assets.settings import SLICES, chosen, version_of
from orchestration.definitions import defs
from orchestration.paths import REPOSITORY, Workspace
from orchestration.plan import plan
from orchestration.records import Records
from orchestration.requests import run_requests, sense
from orchestration.resources import DEFAULTS, Settings
from orchestration.run import configure_instance, make
from orchestration.storage import open_instance

NAME = "Small"
GRAPH = defs.resolve_asset_graph()
WANTED = GRAPH.materializable_asset_keys - recommenders.unwanted(GRAPH, [])
RECIPES = Path(__file__).parents[1] / "recipes"


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
    """Names of the chosen assets with these names, and of all that lies below them."""
    start = keys(*roots)
    return names(dg.AssetSelection.assets(*start).downstream().resolve(GRAPH) & WANTED) - set(but)


def settle(
    instance: dg.DagsterInstance,
    graph,
    only: Iterable[dg.AssetKey],
    content: Callable[[dg.AssetKey], str] = lambda _: "1",
) -> None:
    """Record that assets were made of what is there now, and that their checks have passed, without making anything."""
    only = set(only)
    with instance.event_log_storage.index_connection() as connection:
        # what is reported outside of runs has one run id, and a check is evaluated once in each run
        connection.exec_driver_sql("update asset_check_executions set run_id = 'earlier ' || id where run_id = ''")
    for level in graph.toposorted_asset_keys_by_level:
        made = sorted(set(level) & only)
        if not made:
            continue
        before = Records(instance, NAME, graph.get_all_asset_keys())
        for key in made:
            _materialize(instance, graph, before, key, content(key))
        after = Records(instance, NAME, made)
        for key in made:
            for check in sorted(graph.get(key).check_keys):
                _evaluate(instance, graph, check, after.made[key].storage_id)


def _materialize(instance, graph, records: Records, key: dg.AssetKey, version: str) -> None:
    """The event that Dagster stores of a step."""
    tags = {"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"}
    tags["dagster/code_version"] = graph.get(key).code_version or "none"
    for parent in graph.get(key).parent_keys:
        known, name = records.made.get(parent), parent.to_user_string()
        tags[f"dagster/input_data_version/{name}"] = (known and known.version) or "INITIAL"
        tags[f"dagster/input_event_pointer/{name}"] = str(known.storage_id) if known else "NULL"
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=NAME, tags=tags))


def _evaluate(instance, graph, check: dg.AssetCheckKey, storage_id: int, passed: bool = True) -> None:
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which everything is up to date."""
    home = tmp_path_factory.mktemp("plan") / "workspace"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAW2RANK_HOME", str(home))
        paths = Workspace.current().dataset(NAME)
        write_small_dump(home / "landing" / NAME)
        for key in WANTED:
            place = paths.asset(*key.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.with_name(f"{place.name}.json").write_text("{}")
        write_settings()
        configure_instance(Workspace.current())
        with open_instance(home / "dagster") as instance:
            instance.add_dynamic_partitions("dataset", [NAME])
            observe(instance, NAME)
            settle(instance, GRAPH, WANTED, versions)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to change one thing in."""
    home = tmp_path / "workspace"
    shutil.copytree(made, home)
    monkeypatch.setenv("RAW2RANK_HOME", str(home))
    return home


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(home / "dagster") as instance:
        yield instance


@pytest.fixture
def rebuilt() -> Iterator[Callable[[], dg.Definitions]]:
    """Builds the definitions as another process would, with the code that is there now; forgotten afterwards."""
    parts = [name for name in sys.modules if name.startswith("orchestration.assets.")]
    parts += ["orchestration.checks", "orchestration.jobs", "orchestration.build"]
    before = {name: sys.modules[name] for name in parts}
    packages = {name: dict(vars(sys.modules[name])) for name in ("orchestration", "orchestration.assets")}
    caches = [recommenders.recipes, recommenders.fusions, code_versions.library_version, code_versions._module]

    def build() -> dg.Definitions:
        for cached in caches:
            cached.cache_clear()
        for name in parts:
            sys.modules.pop(name)
        return importlib.import_module("orchestration.build").build_defs()

    yield build
    sys.modules.update(before)
    for name, attributes in packages.items():
        vars(sys.modules[name]).update(attributes)
    for cached in caches:
        cached.cache_clear()
    staleness.set_asset_graph(defs.resolve_asset_graph)


def asked(instance: dg.DagsterInstance, definitions: dg.Definitions = defs, **settings: object) -> set[str]:
    """What is made again, the same by whoever asks for it."""
    graph = definitions.resolve_asset_graph()
    staleness.set_asset_graph(definitions.resolve_asset_graph)
    sensed, problems = sense(instance, graph, None)
    assert problems == []
    by_sensor = {name for request in sensed.run_requests for name in names(request.asset_selection)}
    requests, problems = run_requests(instance, graph)
    assert problems == []
    by_schedule = {name for request in requests for name in names(request.asset_selection)}
    assert by_sensor == by_schedule
    assert run(instance, definitions, lambda _: "2", **settings) == by_schedule
    return by_schedule


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


def test_where_nothing_has_changed_nothing_is_made(instance: dg.DagsterInstance) -> None:
    assert asked(instance) == set()


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes())), mtime=0))


REPORT = "evaluation/report"


def test_a_row_of_the_dump(home: Path, instance: dg.DagsterInstance) -> None:
    rewrite(home / "landing" / NAME / f"{NAME}.json.gz", lambda text: text[: text.rindex(b"{")])
    assert asked(instance) == below("landing/reviews", but=["landing/metadata"])


def test_a_price_by_the_content_that_it_changes(home: Path, instance: dg.DagsterInstance) -> None:
    rewrite(home / "landing" / NAME / f"meta_{NAME}.json.gz", lambda text: text.replace(b"$", b"$1", 1))
    of_metadata = below("landing/metadata")
    assert not {"models/tiny_softmax", "landing/reviews"} & (of_metadata - below("marts/items"))
    # an ID-only model is below the items in the warehouse; its input has the same content
    text = {"landing/metadata", "staging/stg_metadata", "intermediate/int_metadata_deduplicated", "marts/items"}
    text |= {"training_sets/item_text"}
    found = run(instance, defs, lambda key: "2" if key.to_user_string() in text else "1")
    assert text <= found
    assert "baselines/bm25_last_item" in found
    assert not {"models/tiny_softmax", "baselines/markov_chain", "training_sets/sequences"} & found
    assert REPORT in found
