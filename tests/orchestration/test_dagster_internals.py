"""The canary: what is relied on of Dagster beside its public interface, in the release that is installed."""

from __future__ import annotations

import ast
import inspect
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import pytest

from ml.syntax import parse
from orchestration import dagster_internals as internals
from orchestration.execution.dagster_sqlite import SWITCH, KeptOpenRuns, open_instance

REPOSITORY = Path(__file__).parents[2]
PRIVATE = ("dagster._", "dagster_dbt._", "dagster_webserver._", "dagster_shared")


def private_imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name.startswith(PRIVATE)]


def test_one_module_imports_what_is_private_of_dagster() -> None:
    own = REPOSITORY / "orchestration" / "dagster_internals.py"
    assert private_imports(own)
    for folder in ("orchestration", "raw2rank"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            assert path == own or private_imports(path) == [], path


def test_the_release_is_one_that_this_was_read_for() -> None:
    assert version("dagster").split(".")[:2] == ["1", "13"]


def test_tables_of_events_have_the_columns_that_are_asked_for() -> None:
    asked = {
        internals.SqlEventLogStorageTable: {"id", "asset_key", "dagster_event_type", "event", "partition"},
        internals.AssetEventTagsTable: {"event_id", "key", "value"},
        internals.AssetCheckExecutionsTable: {
            *("id", "asset_key", "check_name", "execution_status"),
            *("evaluation_event", "evaluation_event_storage_id", "materialization_event_storage_id"),
        },
    }
    for table, columns in asked.items():
        assert columns <= set(table.c.keys())
    assert hasattr(internals.SqlEventLogStorage, "index_connection")


def test_the_asset_graph_answers_what_the_plan_asks() -> None:
    @dg.asset(group_name="marts")
    def above() -> None: ...

    @dg.asset(deps=[above], check_specs=[dg.AssetCheckSpec("whole", asset="below", blocking=True)])
    def below(): ...

    graph = dg.Definitions(assets=[above, below]).resolve_asset_graph()
    assert isinstance(graph, internals.BaseAssetGraph)
    assert graph.materializable_asset_keys == {above.key, below.key}
    assert [set(level) for level in graph.toposorted_asset_keys_by_level] == [{above.key}, {below.key}]
    (check,) = graph.get(below.key).check_keys
    assert graph.get(check).blocking
    assert graph.get(above.key).group_name == "marts"


def test_a_run_can_be_narrowed_and_logged_to() -> None:
    assert "step_keys_to_execute" in inspect.signature(internals.ExecutionPlan.build_subset_plan).parameters
    assert {"plan_context", "execution_plan"} <= set(inspect.signature(internals.InProcessExecutor.execute).parameters)
    assert {"plan_data", "log_manager", "executor", "output_capture", "resume_from_failure"} <= set(
        inspect.signature(internals.PlanOrchestrationContext.__init__).parameters
    )
    assert internals.check_captured_interrupt() is False


@pytest.mark.parametrize(("said", "kept"), [("", True), ("yes", True), ("no", False), ("OFF", False)])
def test_one_switch_turns_the_open_storage_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, kept: bool
) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv(SWITCH, said)
    with open_instance(tmp_path) as instance:
        assert isinstance(instance.run_storage, KeptOpenRuns) is kept
        instance.add_dynamic_partitions("dataset", ["A"])
    monkeypatch.setenv(SWITCH, "no" if kept else "yes")
    with open_instance(tmp_path) as instance:
        assert instance.get_dynamic_partitions("dataset") == ["A"]


def test_a_switch_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text("")
    monkeypatch.setenv(SWITCH, "perhaps")
    with pytest.raises(ValueError, match=SWITCH):
        open_instance(tmp_path)
