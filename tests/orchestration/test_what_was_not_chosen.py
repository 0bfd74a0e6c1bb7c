"""What was not chosen is in no plan: nothing is recorded for it, and what compares the others is made."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.storage.tags import PARTITION_NAME_TAG

from orchestration.condition import on_new_data
from orchestration.execution.executor import one_run_a_dataset
from orchestration.partitions import datasets
from orchestration.resources import Settings
from orchestration.selection import EVERYTHING, REPORT, require_chosen

DATASET = "Shop"
CHOSEN, OTHER = (dg.AssetKey(["models", name]) for name in ("tiny_softmax", "tiny_gsasrec"))
BOARD = dg.AssetKey(["evaluation", "board"])


def asset(key: dg.AssetKey, deps: tuple[dg.AssetKey, ...] = ()) -> dg.AssetsDefinition:
    @dg.asset(key=key, deps=deps, partitions_def=datasets, automation_condition=on_new_data)
    def made() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"rows": 1})

    return made


@dg.asset_check(asset=OTHER, partitions_def=datasets, blocking=True)
def sound() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


ASSETS = [asset(CHOSEN), asset(OTHER), asset(BOARD, (CHOSEN, OTHER))]
DEFS = dg.Definitions(
    assets=[*ASSETS, asset(REPORT, (BOARD,))],
    asset_checks=[sound],
    jobs=[dg.define_asset_job(name) for name in ("all_recipes", EVERYTHING)],
    resources={"settings": Settings()},
    executor=one_run_a_dataset,
)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(datasets.name, [DATASET])
        yield instance


def ran(
    instance: dg.DagsterInstance, job: str = "all_recipes", only: tuple[dg.AssetKey, ...] = (), **settings
) -> tuple[bool, list[str]]:
    """Whether a run succeeded, and what its log says."""
    job_def = DEFS.resolve_job_def(job)
    job_def = job_def.get_subset(asset_selection=set(only)) if only else job_def
    run = instance.create_run_for_job(
        job_def,
        run_config={"resources": {"settings": {"config": settings}}},
        tags={PARTITION_NAME_TAG: DATASET},
        asset_selection=frozenset(only) or None,
    )
    result = execute_run(InMemoryJob(job_def), run, instance)
    return result.success, [entry.user_message for entry in instance.all_logs(run.run_id)]


def made(instance: dg.DagsterInstance) -> set[dg.AssetKey]:
    return {key for key in (CHOSEN, OTHER, BOARD) if instance.get_latest_materialization_event(key) is not None}


def test_what_was_not_chosen_is_left_out_and_the_rest_is_made(instance: dg.DagsterInstance) -> None:
    succeeded, said = ran(instance)
    assert succeeded
    assert made(instance) == {CHOSEN, BOARD}
    assert any(line == "Left out, because they are not among the chosen recipes: models/tiny_gsasrec." for line in said)
    # the check of what was left out was planned and not run
    history = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(OTHER, "sound"), limit=5)
    assert [record.status.value for record in history] == ["PLANNED"]


def test_what_was_not_chosen_alone_is_refused_with_what_to_do(instance: dg.DagsterInstance) -> None:
    succeeded, said = ran(instance, only=(OTHER,))
    assert not succeeded
    assert not made(instance)
    assert any("Shop: models/tiny_gsasrec: not among the recipes chosen" in line for line in said)


def test_the_job_of_the_default_recipes_says_what_it_does_not_make(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.execution.executor.chosen_for", lambda *_: ["tiny_softmax", "tiny_published"])
    succeeded, said = ran(instance, EVERYTHING)
    assert not succeeded
    assert any("Shop compares tiny_published, which the job everything does not make" in line for line in said)
    # a selection of it reads what is there
    assert ran(instance, EVERYTHING, only=(CHOSEN,))[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"recipes": ["tiny_sofmax"]}, "Shop: there is no recipe tiny_sofmax (did you mean tiny_softmax?)"),
        ({"audit_model": "tiny_sofmax"}, "there is no recipe tiny_sofmax for AUDIT_MODEL (did you mean tiny_softmax?)"),
        ({"from_date": "2014-02-30"}, "FROM_DATE=2014-02-30 is not possible: no such day"),
    ],
)
def test_a_setting_that_is_not_possible_ends_a_run_before_its_first_step(instance, settings: dict, said: str) -> None:
    succeeded, log = ran(instance, **settings)
    assert not succeeded
    assert not made(instance)
    assert any(said in line and line.startswith("This run failed: ") for line in log)
    assert not any("STEP_START" in line or "Started execution of step" in line for line in log)


def test_a_run_without_torch_ends_before_its_first_step(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    # chosen in another environment, and written down for the dataset
    monkeypatch.setattr("orchestration.execution.executor.chosen_for", lambda *_: ["tiny_softmax"])
    monkeypatch.setattr("ml.extras.find_spec", lambda name: None)
    succeeded, log = ran(instance)
    assert not succeeded
    assert not made(instance)
    said = "Shop: models/tiny_softmax needs torch, which is not installed: pip install 'raw2rank[train]'"
    assert f"This run failed: {said}" in log
    # what needs no model is made all the same
    assert ran(instance, only=(BOARD,))[0]


def test_the_report_is_left_out_where_it_cannot_be_made(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.selection.missing", lambda extra: "matplotlib" if extra == "report" else "")
    succeeded, log = ran(instance)
    assert succeeded
    assert "Left out: evaluation/report: matplotlib is not installed (pip install 'raw2rank[report]')." in log
    assert instance.get_latest_materialization_event(REPORT) is None
    succeeded, log = ran(instance, only=(REPORT,))
    assert not succeeded
    assert any("evaluation/report: matplotlib is not installed" in line for line in log)


def test_an_asset_by_itself_refuses_too() -> None:
    require_chosen(CHOSEN, ["tiny_softmax"], DATASET)
    require_chosen(BOARD, [], DATASET)
    with pytest.raises(dg.Failure, match="Name the recipe under `recipes`"):
        require_chosen(OTHER, ["tiny_softmax"], DATASET)


def test_the_conditions_ask_for_no_recipe_that_was_not_chosen_and_wait_for_none(instance: dg.DagsterInstance) -> None:
    cursor = None

    def requested() -> set[dg.AssetKey]:
        nonlocal cursor
        result = dg.evaluate_automation_conditions(dg.Definitions(ASSETS), instance, cursor=cursor)
        cursor = result.cursor
        return {one.key for one in result.results if one.true_subset.size}

    def make(*keys: dg.AssetKey, version: str) -> None:
        tags = {"dagster/data_version": version}
        for key in keys:
            instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=DATASET, tags=tags))

    assert requested() == {CHOSEN, BOARD}
    make(CHOSEN, BOARD, version="1")
    assert requested() == set()
    make(CHOSEN, version="2")
    assert requested() == {BOARD}
