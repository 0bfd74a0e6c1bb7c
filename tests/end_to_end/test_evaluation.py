"""What a run says of its own numbers: several seeds, audits, the report's folder, and two reports side by side."""

import json
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from workbench import Workbench, write_small_dump

from ml.audits.audit import Audit
from ml.audits.variants import with_tie_order
from ml.baselines import BASELINES
from ml.data.interactions import read_interactions
from ml.data.training_set import TrainingSet
from orchestration import compare
from orchestration.assets.audits import AUDITS

OPTIONS = ["--recipes", "tiny_softmax,tiny_fusion", "--seeds", "2", "--audit-model", "tiny_softmax"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture
def bench(place: Path, capfd: pytest.CaptureFixture) -> Workbench:
    return Workbench(place / "workspace", place / "dumps", lambda: "".join(capfd.readouterr()))


@pytest.fixture
def audits(bench: Workbench) -> dict[str, Audit]:
    return {name: Audit.from_json(json.loads(bench.lake("audits", f"{name}.json").read_text())) for name in AUDITS}


def test_what_is_random_is_compared_over_its_seeds(bench: Workbench) -> None:
    write_small_dump(bench.dumps)
    code, said = bench.run(*OPTIONS)
    assert code == 0, said
    rows = {
        row["recommender"]: row for row in pq.read_table(bench.lake("evaluation", "leaderboard.parquet")).to_pylist()
    }
    random = {name for name in rows if name not in BASELINES or BASELINES[name].seeded}
    assert {"tiny_softmax", "tiny_fusion", "random"} <= random
    for name, row in rows.items():
        assert row["seeds"] == (2 if name in random else 1), name
        assert (row["seed_deviation"] is None) == (name not in random), name
    assert rows["tiny_softmax"]["seed_deviation"] > 0


def test_every_audit_says_something_and_its_check_says_the_same(bench: Workbench, audits: dict[str, Audit]) -> None:
    with dg.DagsterInstance.from_config(str(bench.home / "dagster")) as instance:
        for name, audit in audits.items():
            assert audit.name == name
            assert audit.verdict.endswith(".")
            key = dg.AssetCheckKey(dg.AssetKey(["audits", name]), "no_concern")
            (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=5)
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
        "list_metrics.csv", "slices.csv", "sampled_users.parquet",
    }  # fmt: skip
    page = (folder / "report.html").read_text()
    for audit in audits.values():
        assert audit.title in page
    rankings = pq.read_table(bench.lake("rankings", "most_popular.parquet"))
    catalogue = pq.read_metadata(bench.lake("marts", "items.parquet")).num_rows
    assert max(rankings["rank"].to_pylist()) == min(100, catalogue)


def test_a_report_compared_with_itself_has_not_changed(bench: Workbench) -> None:
    folder = str(bench.lake("evaluation", "report"))
    assert compare.main([folder, folder]) == 0
    assert "Every list is equal" in bench.capture()
    assert compare.main([folder, str(bench.home / "nothing")]) == 1
    assert "nothing" in bench.capture()


def test_an_unknown_model_for_the_audits_is_told_before_anything_runs(bench: Workbench) -> None:
    before = bench.materializations()
    code, said = bench.run("--audit-model", "oracle")
    assert code == 1
    assert "there is no recipe oracle for AUDIT_MODEL; there are" in said
    assert bench.materializations() == before
