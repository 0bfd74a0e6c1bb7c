"""A run that schedule or sensor asked for makes no more than ``make run`` would: what has really changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.storage.tags import PARTITION_NAME_TAG

from orchestration.execution import staleness
from orchestration.execution.executor import one_run_a_dataset
from orchestration.execution.phases import ONLY_WHAT_CHANGED
from orchestration.execution.plan import plan
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.resources import Settings

DATASET = "Shop"
# contents of what is made next; everything else has the same content whenever it is made
CONTENT: dict[str, str] = {}
MADE: list[str] = []
BROKEN: set[str] = set()


def asset(name: str, *deps: str) -> dg.AssetsDefinition:
    key = dg.AssetKey(name.split("/"))
    above = [dg.AssetKey(dep.split("/")) for dep in deps]

    @dg.asset(key=key, deps=above, group_name=key.path[0], partitions_def=datasets)
    def made() -> dg.MaterializeResult:
        MADE.append(name)
        if name in BROKEN:
            raise dg.Failure(description=f"{name} is broken", allow_retries=False)
        return dg.MaterializeResult(data_version=dg.DataVersion(CONTENT.get(name, "1")))

    return made


DEFS = dg.Definitions(
    assets=[
        *(dg.AssetSpec(["raw", name], partitions_def=datasets) for name in ("reviews", "metadata")),
        asset("landing/reviews", "raw/reviews"),
        asset("landing/metadata", "raw/metadata"),
        asset("marts/interactions", "landing/reviews"),
        asset("marts/items", "landing/metadata"),
        asset("training_sets/sequences", "marts/interactions", "marts/items"),
        asset("training_sets/item_text", "marts/items"),
        asset("baselines/most_popular", "training_sets/sequences"),
        asset("baselines/bm25_last_item", "training_sets/item_text"),
        asset("evaluation/leaderboard", "baselines/most_popular", "baselines/bm25_last_item"),
    ],
    jobs=[dg.define_asset_job("all_recipes")],
    resources={"settings": Settings()},
    executor=one_run_a_dataset,
)
GRAPH = DEFS.resolve_asset_graph()
ALL = sorted(key.to_user_string() for key in GRAPH.materializable_asset_keys)
OF_METADATA = ["landing/metadata", "marts/items", "training_sets/item_text", "training_sets/sequences"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which everything was made once, and the folder of its instance in it."""
    home = tmp_path_factory.mktemp("phases") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAW2RANK_HOME", str(home))
        patch.setattr(staleness, "_resolve_graph", DEFS.resolve_asset_graph)
        for key in GRAPH.materializable_asset_keys:
            place = Workspace.current().dataset(DATASET).asset(*key.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.with_name(f"{place.name}.json").write_text("{}")
        (home / "instance").mkdir()
        with dg.instance_for_test(temp_dir=str(home / "instance")) as instance:
            instance.add_dynamic_partitions(datasets.name, [DATASET])
            dump_metadata(instance, "1")
            assert run(instance, ALL) == (True, ALL)
    return home


@pytest.fixture
def instance(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Its instance, in a copy."""
    shutil.copytree(made, tmp_path / "home")
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(staleness, "_resolve_graph", DEFS.resolve_asset_graph)
    CONTENT.clear()
    BROKEN.clear()
    with dg.instance_for_test(temp_dir=str(tmp_path / "home" / "instance")) as instance:
        yield instance


def run(instance: dg.DagsterInstance, selected: list[str], **tags: str) -> tuple[bool, list[str]]:
    """Whether a run on these assets succeeded, and what it made."""
    MADE.clear()
    job = DEFS.resolve_job_def("all_recipes").get_subset(
        asset_selection={dg.AssetKey.from_user_string(name) for name in selected}
    )
    created = instance.create_run_for_job(job, tags={PARTITION_NAME_TAG: DATASET, **tags}, asset_selection=frozenset())
    result = execute_run(InMemoryJob(job), created, instance, raise_on_error=False)
    return result.success, sorted(MADE)


def dump_metadata(instance: dg.DagsterInstance, version: str) -> None:
    """Another dump of the metadata lies there."""
    instance.report_runless_asset_event(
        dg.AssetObservation(["raw", "metadata"], partition=DATASET, tags={"dagster/data_version": version})
    )


def stale(instance: dg.DagsterInstance) -> list[str]:
    return sorted(key.to_user_string() for key in plan(instance, GRAPH, DATASET))


def below_metadata() -> list[str]:
    return [*OF_METADATA, "baselines/bm25_last_item", "baselines/most_popular", "evaluation/leaderboard"]


def test_what_has_the_same_content_stops_there(instance: dg.DagsterInstance) -> None:
    dump_metadata(instance, "2")
    CONTENT.update({"landing/metadata": "2", "marts/items": "2", "training_sets/item_text": "2"})
    succeeded, made = run(instance, below_metadata(), **ONLY_WHAT_CHANGED)
    assert succeeded
    # the histories were made again, as before, and what counts them alone is left
    assert made == sorted([*OF_METADATA, "baselines/bm25_last_item", "evaluation/leaderboard"])
    assert stale(instance) == []


def test_what_is_left_is_recorded_with_the_reason(instance: dg.DagsterInstance) -> None:
    dump_metadata(instance, "2")
    CONTENT["landing/metadata"] = "2"
    succeeded, made = run(instance, below_metadata(), **ONLY_WHAT_CHANGED)
    assert (succeeded, made) == (True, ["landing/metadata", "marts/items"])
    assert stale(instance) == []
    events = instance.all_logs(instance.get_runs(limit=1)[0].run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    said = {entry.get_dagster_event().message for entry in events}
    assert (
        "baselines/most_popular is left as it is: what it is made of has the same content as when it was made" in said
    )
    assert len(said) == 5


def test_what_is_launched_by_hand_is_made_whatever_has_changed(instance: dg.DagsterInstance) -> None:
    assert run(instance, below_metadata()) == (True, sorted(below_metadata()))


def test_a_failure_ends_the_run_and_the_rest_stays_out_of_date(instance: dg.DagsterInstance) -> None:
    dump_metadata(instance, "2")
    CONTENT.update({"landing/metadata": "2", "marts/items": "2"})
    BROKEN.add("marts/items")
    succeeded, made = run(instance, below_metadata(), **ONLY_WHAT_CHANGED)
    assert (succeeded, made) == (False, ["landing/metadata", "marts/items"])
    assert stale(instance) == sorted(set(below_metadata()) - {"landing/metadata"})
    BROKEN.clear()
    succeeded, made = run(instance, stale(instance), **ONLY_WHAT_CHANGED)
    assert succeeded
    assert stale(instance) == []


def test_a_run_that_was_killed_leaves_its_plan_open(instance: dg.DagsterInstance) -> None:
    # planned by a run that never came to it: the next scheduled run makes it, whatever its inputs are
    key = dg.AssetKey(["baselines", "most_popular"])
    job = DEFS.resolve_job_def("all_recipes").get_subset(asset_selection={key})
    instance.create_run_for_job(job, tags={PARTITION_NAME_TAG: DATASET}, asset_selection=frozenset())
    assert stale(instance) == ["baselines/most_popular", "evaluation/leaderboard"]
    succeeded, made = run(instance, stale(instance), **ONLY_WHAT_CHANGED)
    assert (succeeded, made) == (True, ["baselines/most_popular", "evaluation/leaderboard"])
    assert stale(instance) == []
