"""What is asked for without anybody asking: the sensor, the schedule and the condition, tick by tick."""

import gzip
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from workbench import write_small_dump

from orchestration.assets.raw import observe
from orchestration.assets.settings import SLICES
from orchestration.definitions import defs
from orchestration.paths import Workspace
from orchestration.recommenders import unwanted
from orchestration.requests import register, run_requests
from orchestration.staleness import asset_graph

NAME = "Small"
REPOSITORY = defs.get_repository_def()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance() -> dg.DagsterInstance:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def land(home: Path) -> Path:
    folder = home / "landing" / NAME
    write_small_dump(folder)
    return folder / f"{NAME}.json.gz"


def change(dump: Path) -> None:
    lines = gzip.decompress(dump.read_bytes()).splitlines()
    dump.write_bytes(gzip.compress(b"\n".join(lines[:-1]) + b"\n", mtime=0))


def sense(instance: dg.DagsterInstance) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, repository_def=REPOSITORY)
    return REPOSITORY.get_sensor_def("new_dumps")(context)


def test_the_sensor_registers_what_lands_and_asks_once_for_each_content(
    home: Path, instance: dg.DagsterInstance
) -> None:
    assert not sense(instance).run_requests
    dump = land(home)
    (first,) = sense(instance).run_requests
    assert instance.get_dynamic_partitions("dataset") == [NAME]
    assert first.partition_key == NAME
    assert dg.AssetKey(["evaluation", "report"]) in first.asset_selection
    assert not sense(instance).run_requests
    change(dump)
    (second,) = sense(instance).run_requests
    assert second.run_key != first.run_key


def test_the_schedule_asks_for_what_is_out_of_date(home: Path, instance: dg.DagsterInstance) -> None:
    land(home)
    assert run_requests(instance, asset_graph()) == []
    register(instance, NAME)
    (request,) = run_requests(instance, asset_graph())
    assert request.partition_key == NAME
    assert set(request.asset_selection) == asset_graph().materializable_asset_keys - unwanted(asset_graph(), [])


def test_the_schedule_goes_on_with_the_recipes_that_were_chosen(home: Path, instance: dg.DagsterInstance) -> None:
    land(home)
    register(instance, NAME)
    written = Workspace.current().dataset(NAME).asset("settings") / "comparison.json"
    written.parent.mkdir(parents=True)
    written.write_text('{"recipes": ["tiny_gsasrec"]}')
    (request,) = run_requests(instance, asset_graph())
    asked = {key.to_user_string() for key in request.asset_selection}
    assert {key for key in asked if key.startswith(("models/", "codes/"))} == {"models/tiny_gsasrec"}


# every asset has the same condition; evaluating all of them at every tick takes a minute
LAYERS = dg.AssetSelection.groups("settings", "landing", "staging")


class Ticks:
    """The automation daemon, by hand."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor = None

    def requested(self) -> set[str]:
        result = dg.evaluate_automation_conditions(defs, self.instance, LAYERS, cursor=self.cursor)
        self.cursor = result.cursor
        return {one.key.to_user_string() for one in result.results if one.true_subset.size}


def made(instance: dg.DagsterInstance, *keys: str, version: str = "1") -> None:
    """Say that assets were made, with a data version, without making them."""
    for key in keys:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(key.split("/"), partition=NAME, tags={"dagster/data_version": version})
        )


def checked(instance: dg.DagsterInstance, asset: str, passed: bool) -> None:
    """Say what the blocking checks of an asset found on what was made last."""
    graph = asset_graph()
    key = dg.AssetKey(asset.split("/"))
    (record,) = instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=[NAME]), limit=1).records
    target = AssetCheckEvaluationTargetMaterializationData(
        storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
    )
    for check in graph.get(key).check_keys:
        if graph.get(check).blocking:
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=check.asset_key,
                    check_name=check.name,
                    passed=passed,
                    severity=dg.AssetCheckSeverity.ERROR,
                    partition=NAME,
                    target_materialization_data=target,
                    metadata={},
                )
            )


def test_ticks(home: Path, instance: dg.DagsterInstance) -> None:
    dump = land(home)
    register(instance, NAME)
    ticks = Ticks(instance)
    written = {f"settings/{name}" for name in SLICES}
    assert ticks.requested() == written

    made(instance, *written)
    observe(instance, NAME)
    assert ticks.requested() == {"landing/reviews", "landing/metadata"}

    # made, but not yet checked: what is below waits; a failed check holds back what reads that asset
    made(instance, "landing/reviews", "landing/metadata")
    assert ticks.requested() == set()
    checked(instance, "landing/reviews", passed=True)
    checked(instance, "landing/metadata", passed=False)
    asked = ticks.requested()
    assert "staging/stg_reviews" in asked
    assert not {"staging/stg_metadata", "staging/stg_files"} & asked

    # observed again: nothing new, then another content
    observe(instance, NAME)
    assert not {"landing/reviews", "landing/metadata"} & ticks.requested()
    change(dump)
    observe(instance, NAME)
    assert "landing/reviews" in ticks.requested()
    assert "landing/reviews" not in ticks.requested()
