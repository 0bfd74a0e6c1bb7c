"""From a dump to a leaderboard by one command, again, and with one thing changed at a time.

One workspace for the whole module: each test goes on from what the one before left.
"""

import json

import dagster as dg
import pyarrow.parquet as pq
import pytest
from whole_runs import EVALUATION, FEW, RELEASED, assert_compared_over_two_seeds, assert_sound, remade
from workbench import Workbench, write_small_dump

from ml.audits.audit import Audit
from ml.audits.registry import AUDITS
from ml.baselines.registry import ALWAYS_RUN
from ml.data.timed_interactions import read_interactions
from ml.data.training_set import TrainingSet
from ml.data.variants import with_tie_order
from ml.evaluation.protocol_line import protocol
from ml.evaluation.rankings import facts
from ml.recommenders.choice import chosen_names, compared
from ml.recommenders.registry import recipe_names
from orchestration.automation.shown_staleness import WATCHED, reasons_now
from orchestration.commands import compare
from orchestration.execution.dagster_sqlite import open_instance
from orchestration.execution.staleness import UP_TO_DATE, asset_graph
from orchestration.selection import unwanted

CHOSEN = chosen_names([])
MODELS = [name for name in CHOSEN if name in recipe_names()]


@pytest.fixture
def bench(kept: Workbench) -> Workbench:
    return kept


@pytest.fixture
def audits(bench: Workbench) -> dict[str, Audit]:
    return {name: Audit.from_json(json.loads(bench.lake("audits", f"{name}.json").read_text())) for name in AUDITS}


# drawings are tested in tests/unit/test_plots.py and test_report.py, and a whole run of the slow tests draws its own
@pytest.mark.usefixtures("empty_drawings")
def test_from_dump_to_leaderboard(bench: Workbench) -> None:
    write_small_dump(bench.dumps)
    code, said = bench.run()
    assert code == 0, said
    board = pq.read_table(bench.lake("evaluation", "leaderboard.parquet"))
    assert set(board["recommender"].to_pylist()) == set(compared([]))
    assert set(board["fit_on"].to_pylist()) == {"train"}
    assert board["ndcg@10"].to_pylist() == sorted(board["ndcg@10"].to_pylist(), reverse=True)
    for title in board["title"].to_pylist():
        assert title in said
    assert protocol(board)["order of ties in time"] == "hash"
    assert protocol(board)["codes"] == "svd, assigned on train"
    kinds = dict(zip(board["recommender"].to_pylist(), board["kind"].to_pylist(), strict=True))
    assert kinds["tiny_fusion"] == "fusion"
    report = bench.lake("evaluation", "report", "report.html")
    assert str(report) in said
    assert "<script" not in report.read_text()


def test_every_asset_was_made_and_says_its_rows_and_columns(bench: Workbench) -> None:
    from orchestration.definitions import defs

    graph = defs.resolve_asset_graph()
    with dg.DagsterInstance.from_config(str(bench.home / "dagster")) as instance:
        for key in graph.materializable_asset_keys - unwanted(graph, []):
            event = instance.get_latest_materialization_event(key)
            assert event is not None, key
            metadata = event.asset_materialization.metadata
            assert metadata["dagster/row_count"].value >= 0, key
            assert "dagster/column_schema" in {*metadata, *graph.get(key).metadata}, key
            assert event.tags["dagster/data_version_is_user_provided"] == "true", key


def test_every_run_says_which_command_and_phase_it_is_of(bench: Workbench) -> None:
    with open_instance(bench.home / "dagster") as instance:
        runs = instance.get_runs()
        said = [(run.tags["raw2rank/command"], run.tags["raw2rank/phase"]) for run in reversed(runs)]
        phases = ("landing", "checked data", "training set", "recommenders and report")
        assert said == [("make run", phase) for phase in phases]
        log = [entry.user_message for entry in instance.all_logs(runs[-1].run_id)]
        assert any(line.startswith("Landed reviews. Small.json.gz: ") for line in log)


def test_the_leaderboard_describes_its_metrics_and_has_a_number_to_draw_for_each_recommender(bench: Workbench) -> None:
    board = pq.read_table(bench.lake("evaluation", "leaderboard.parquet")).to_pylist()
    with open_instance(bench.home / "dagster") as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["evaluation", "leaderboard"]))
    metadata = event.asset_materialization.metadata
    columns = {column.name: column.description for column in metadata["dagster/column_schema"].schema.columns}
    assert columns["recall@10"] == "recall of the first 10 items, mean over the test users"
    assert {row["recommender"]: metadata[f"ndcg@10 of {row['recommender']}"].value for row in board} == {
        row["recommender"]: row["ndcg@10"] for row in board
    }


def test_models_are_safetensors_and_json(bench: Workbench) -> None:
    for name in MODELS:
        kinds = {path.suffix for path in bench.lake("models", name).rglob("*") if path.is_file()}
        assert kinds <= {".safetensors", ".json", ".jsonl", ".npy"}
        assert ".safetensors" in kinds


def test_again_nothing_is_made(bench: Workbench) -> None:
    before = bench.materializations()
    code, said = bench.run()
    assert code == 0
    assert "everything is up to date" in said
    assert bench.materializations() == before
    with pytest.MonkeyPatch.context() as patch, open_instance(bench.home / "dagster") as instance:
        patch.setenv("RAW2RANK_HOME", str(bench.home))
        # leaderboard and report passed their check when they were made, and nothing is out of date since
        assert reasons_now(instance, asset_graph(), "Small") == {}
        for key in WATCHED:
            (found,) = instance.event_log_storage.get_asset_check_execution_history(
                dg.AssetCheckKey(key, UP_TO_DATE), limit=5
            )
            assert found.status.value == "SUCCEEDED"


def test_the_rules_are_judged_by_what_the_run_has_found(bench: Workbench) -> None:
    """`make check-data` after a run says the result of every rule, and makes nothing."""
    before = bench.materializations()
    code, said = bench.check("--verbose")
    assert code == 0, said
    assert bench.materializations() == before
    assert "making" not in said
    assert_sound(said)
    docs = bench.home / "data_docs" / "Small"
    assert f"data docs: {docs / 'index.html'}" in said
    assert (docs / "marts" / "statistics.html").is_file()


@pytest.mark.usefixtures("empty_drawings")
def test_fewer_recipes_with_more_seeds_train_nothing_again(bench: Workbench) -> None:
    before = bench.materializations()
    code, said = bench.run(*FEW, "--seeds", "2", "--audit-model", "tiny_softmax")
    assert code == 0, said
    # models of further seeds are measured and not kept; the first ones stay
    assert remade(before, bench.materializations()) == {
        "settings/comparison", "settings/seeds", "settings/audits", *EVALUATION, "evaluation/beyond_accuracy",
        *(f"audits/{name}" for name in AUDITS), *RELEASED,
    }  # fmt: skip
    rows = {
        row["recommender"]: row for row in pq.read_table(bench.lake("evaluation", "leaderboard.parquet")).to_pylist()
    }
    assert set(rows) == {*ALWAYS_RUN, "tiny_softmax", "tiny_fusion"}
    assert_compared_over_two_seeds(rows)


def test_every_audit_says_something_and_its_check_says_the_same(bench: Workbench, audits: dict[str, Audit]) -> None:
    with dg.DagsterInstance.from_config(str(bench.home / "dagster")) as instance:
        for name, audit in audits.items():
            assert audit.name == name
            assert audit.verdict.endswith(".")
            key = dg.AssetCheckKey(dg.AssetKey(["audits", name]), "no_concern")
            (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
            evaluation = record.event.dagster_event.asset_check_evaluation_data
            assert evaluation.passed is not audit.concern
            assert evaluation.severity == dg.AssetCheckSeverity.WARN
            assert evaluation.description == audit.verdict


def test_the_model_that_was_asked_for_is_audited_too(audits: dict[str, Audit]) -> None:
    for name in ("ties", "duplicates", "temporal"):
        cells = {cell for table in audits[name].tables for row in table.rows for cell in row}
        assert "Tiny SASRec, sampled softmax" in cells, name
        assert "Most popular" in cells, name


def test_the_audits_build_the_split_of_the_warehouse_again(bench: Workbench) -> None:
    training_set = TrainingSet.load(bench.lake("training_sets", "sequences"))
    marts = (bench.lake("marts", f"{name}.parquet") for name in ("interactions", "splits"))
    interactions = read_interactions(*marts, training_set)
    assert with_tie_order(training_set, interactions, "hash").digest() == training_set.digest()
    assert with_tie_order(training_set, interactions, "item").digest() != training_set.digest()


def test_the_report_tells_of_the_audits_and_lies_beside_its_tables(bench: Workbench, audits: dict[str, Audit]) -> None:
    folder = bench.lake("evaluation", "report")
    assert {path.name for path in folder.iterdir()} == {
        "report.html", "report.md", "report.json", "audits.json", "leaderboard.csv", "leaderboard.parquet",
        "list_metrics.csv", "slices.csv", "sampled_users.parquet", "trade_offs.csv", "trade_offs.json",
        "what_helps.csv", "folds.csv", "release.html", "over_time.csv",
    }  # fmt: skip
    page = (folder / "report.html").read_text()
    for audit in audits.values():
        assert audit.title in page
    rankings = pq.read_table(bench.lake("rankings", "most_popular.parquet"))
    catalogue = pq.read_metadata(bench.lake("marts", "items.parquet")).num_rows
    assert facts(rankings)["depth"] == min(100, catalogue)


def test_a_report_compared_with_itself_has_not_changed(bench: Workbench) -> None:
    folder = str(bench.lake("evaluation", "report"))
    assert compare.main([folder, folder]) == 0
    assert "All lists are equal" in bench.capture()
    assert compare.main([folder, str(bench.home / "nothing")]) == 1
    assert "nothing" in bench.capture()


def test_an_unknown_model_for_the_audits_is_told_before_anything_runs(bench: Workbench) -> None:
    before = bench.materializations()
    code, said = bench.run("--audit-model", "oracle")
    assert code == 1
    assert "there is no recipe oracle for AUDIT_MODEL; there are" in said
    assert bench.materializations() == before


def test_a_search_goes_on_where_it_stopped_and_makes_nothing_else(bench: Workbench) -> None:
    before = bench.materializations()
    for trials in (1, 2):
        code, said = bench.search("--recipe", "tiny_softmax", "--trials", str(trials))
        assert code == 0, said
        assert "best.toml" in said
    assert remade(before, bench.materializations()) == {"searches/hyperparameters"}
    found = json.loads(bench.lake("searches", "tiny_softmax", "search.json").read_text())
    assert len(found["trials"]) == 2
    assert found["value"] >= found["first"]
    code, said = bench.search("--recipe", "nothing")
    assert code == 1
    assert "there is no recipe nothing" in said
    code, said = bench.search("--recipe", "tiny_softmax", dataset="Elsewhere")
    assert code == 1
    assert "make run DATASET=Elsewhere first" in said
