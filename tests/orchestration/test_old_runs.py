"""What Dagster remembers of old runs is forgotten, and nothing that is read of the past."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random

import dagster as dg
import pytest
from costs import others_slow

from orchestration.commands.run import configure_instance
from orchestration.definitions import defs
from orchestration.execution import old_runs
from orchestration.execution.dagster_sqlite import open_instance
from orchestration.execution.old_runs import forget_old_runs, kept_runs
from orchestration.execution.plan import _checked_otherwise, _made_of_something_else
from orchestration.execution.records import Records
from orchestration.execution.staleness import CHECK_READS, unpassed_of
from orchestration.paths import Workspace

NAMES = ("One", "Two")
PARTITIONS = dg.DynamicPartitionsDefinition(name="dataset")
RAW = dg.AssetKey("raw")


def _definitions(content: dict[str, int]) -> dg.Definitions:
    """A chain with a check that looks at what its asset does not read."""

    def asset(name: str, *deps: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=list(deps), partitions_def=PARTITIONS, code_version="1")
        def made() -> dg.MaterializeResult:
            return dg.MaterializeResult(data_version=dg.DataVersion(str(content[name])))

        return made

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)

        @dg.asset_check(asset="last", blocking=True, partitions_def=PARTITIONS, metadata={CHECK_READS: ["side"]})
        def holds() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

    assets = [asset("first", "raw"), asset("middle", "first"), asset("last", "middle"), asset("side")]
    return dg.Definitions(assets=[*assets, dg.AssetSpec("raw", partitions_def=PARTITIONS)], asset_checks=[holds])


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    configure_instance(Workspace.current())
    with open_instance(tmp_path / "dagster") as instance:
        instance.add_dynamic_partitions("dataset", list(NAMES))
        yield instance


def _known(instance: dg.DagsterInstance, graph) -> dict[str, object]:
    """All that the plan and the pages of the UI take from the past."""
    found: dict[str, object] = {}
    for dataset in NAMES:
        records = Records(instance, dataset, graph.get_all_asset_keys())
        for key in sorted(graph.materializable_asset_keys):
            evaluations = {name: one.storage_id for name, one in records.evaluations.get(key, {}).items()}
            event = instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=[dataset]), limit=1)
            made = records.made.get(key)
            found[f"{dataset} {key.to_user_string()}"] = (
                made,
                records.planned.get(key),
                evaluations,
                unpassed_of(records, graph, key),
                _checked_otherwise(records, graph, key, ()),
                made and _made_of_something_else(records, graph, key, {}),
                [record.storage_id for record in event.records],
                event.records and instance.get_run_by_id(event.records[0].run_id) is not None,
            )
    return found


@pytest.mark.parametrize("seed", others_slow(range(2), 0))
def test_what_is_read_of_the_past_stays(instance: dg.DagsterInstance, monkeypatch, seed: int) -> None:
    random, content = Random(seed), dict.fromkeys(("first", "middle", "last", "side"), 1)
    definitions = _definitions(content)
    job, graph = definitions.resolve_implicit_global_asset_job_def(), definitions.resolve_asset_graph()
    for number in range(10):
        dataset = random.choice(NAMES)
        if random.random() < 0.4:
            version = {"dagster/data_version": str(random.randrange(2))}
            instance.report_runless_asset_event(dg.AssetObservation(RAW, partition=dataset, tags=version))
        name = random.choice(sorted(content))
        content[name] = random.randrange(2)
        # the first runs make all, so that some assets are made of what was long ago
        chosen = sorted(content) if number < 2 else random.sample(sorted(content), random.randint(1, 2))
        assert job.execute_in_process(
            instance=instance, partition_key=NAMES[number] if number < 2 else dataset,
            asset_selection=[dg.AssetKey(name) for name in chosen],
        ).success  # fmt: skip
    before, runs = _known(instance, graph), instance.get_runs_count()
    monkeypatch.setattr(old_runs, "kept_runs", lambda: 1)
    would = forget_old_runs(instance, graph, dry_run=True)
    assert instance.get_runs_count() == runs
    forgotten = forget_old_runs(instance, graph)
    assert 0 < forgotten.runs == would.runs == runs - instance.get_runs_count()
    assert forgotten.problem == ""
    assert forgotten.bytes >= would.bytes > 0
    assert _known(instance, graph) == before
    # nothing of what was deleted is left on disk, and nothing more can go
    shards = {path.stem for path in Path(instance.root_directory).glob("history/runs/*.db")} - {"index", ".db"}
    assert shards <= {run.run_id for run in instance.get_runs()}
    assert forget_old_runs(instance, graph).runs == 0


def test_runs_that_have_not_ended_and_those_of_others_stay(instance: dg.DagsterInstance, monkeypatch) -> None:
    definitions = _definitions({"side": 1})
    job, graph = definitions.resolve_implicit_global_asset_job_def(), definitions.resolve_asset_graph()
    for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING, *[dg.DagsterRunStatus.SUCCESS] * 3):
        for name in NAMES:
            instance.create_run_for_job(job, status=status, tags={"dagster/partition": name})
    monkeypatch.setattr(old_runs, "kept_runs", lambda: 1)
    assert forget_old_runs(instance, graph, "One").runs == 2
    left = [run.tags["dagster/partition"] for run in instance.get_runs()]
    assert (left.count("One"), left.count("Two")) == (3, 5)


@pytest.mark.parametrize("text", ["7", "many", "-1", "3.5"])
def test_an_impossible_number_of_runs_is_refused(monkeypatch, text: str) -> None:
    monkeypatch.setenv("RAW2RANK_KEEP_RUNS", text)
    with pytest.raises(ValueError, match=f"RAW2RANK_KEEP_RUNS={text} is not possible"):
        kept_runs()


def test_the_job_says_what_was_freed(instance: dg.DagsterInstance) -> None:
    clean_job = defs.resolve_job_def("clean")
    result = clean_job.execute_in_process(instance=instance)
    (output,) = (event for event in result.all_events if event.event_type_value == "STEP_OUTPUT")
    assert output.step_output_data.metadata["said"].value == "nothing freed"
    refused = clean_job.execute_in_process(
        instance=instance, run_config={"ops": {"free_disk": {"config": {"dataset": "No"}}}}, raise_on_error=False
    )
    assert not refused.success
