"""What one command makes again when one thing has changed, as `tests/orchestration/test_what_reruns.py` plans it.

One workspace for the whole module: each test goes on from what the one before left.
"""

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from declared_inputs import made_of_declared_alone
from whole_runs import EVALUATION, FEW, RELEASED, append, assert_compared_over_two_seeds, json_lines, remade, rewrite
from workbench import Workbench, write_small_dump

from ml.audits.registry import AUDITS
from ml.baselines.registry import ALWAYS_RUN
from ml.evaluation.protocol_line import protocol
from orchestration.execution.dagster_sqlite import open_instance
from orchestration.execution.staleness import asset_graph, data_versions, in_order
from orchestration.resources import Settings
from orchestration.selection import unwanted

pytestmark = pytest.mark.slow

ID_ONLY = [
    "marts/interactions",
    "marts/splits",
    "training_sets/sequences",
    "baselines/markov_chain",
    "models/tiny_softmax",
    "models/tiny_fusion",
]
ANOTHER_SPLIT = [*FEW, "--seed", "1", "--validation-users", "50", "--exclude-seen"]


@pytest.fixture
def bench(kept: Workbench) -> Workbench:
    return kept


def test_a_run_to_go_on_from(bench: Workbench) -> None:
    write_small_dump(bench.dumps)
    code, said = bench.run()
    assert code == 0, said


def test_every_asset_reads_what_it_declares_and_nothing_else(bench: Workbench, tmp_path: Path) -> None:
    graph = asset_graph()
    # dbt knows what its models read; nobody reads what was not chosen
    by_dbt = {"staging", "intermediate", "marts"}
    wanted = graph.materializable_asset_keys - unwanted(graph, [])
    keys = [key for key in in_order(graph, wanted) if key.path[0] not in by_dbt or key.path[-1] == "accepted"]
    with open_instance(bench.home / "dagster") as instance:
        made = data_versions(instance, "Small", keys)
        settings = Settings(k_core=3)
        for key, version in made_of_declared_alone(bench.home, tmp_path, instance, "Small", keys, settings):
            assert version == made[key], key.to_user_string()


def test_another_choice_of_recipes_trains_nothing_again(bench: Workbench) -> None:
    before = bench.materializations()
    code, said = bench.run(*FEW)
    assert code == 0, said
    board = pq.read_table(bench.lake("evaluation", "leaderboard.parquet"))
    assert set(board["recommender"].to_pylist()) == {*ALWAYS_RUN, "tiny_softmax", "tiny_fusion"}
    # the other audits look at the data and at the cheap recommenders alone
    assert remade(before, bench.materializations()) == {
        "settings/comparison", *EVALUATION, "evaluation/beyond_accuracy",
        "audits/leakage", "audits/shortcuts", "audits/calibration", *RELEASED,
    }  # fmt: skip


def test_the_same_bytes_under_another_compression_make_nothing_below_landing(bench: Workbench) -> None:
    before = bench.materializations()
    reviews = bench.dumps / "Small.json.gz"
    reviews.write_bytes(gzip.compress(gzip.decompress(reviews.read_bytes()), compresslevel=1, mtime=7))
    code, said = bench.run(*FEW)
    assert code == 0, said
    # the report prints the digests of the files, so it is another one
    assert remade(before, bench.materializations()) == {"landing/reviews", "evaluation/report"}


def test_a_corrected_title_retrains_nothing_that_reads_no_text(bench: Workbench) -> None:
    before, versions = bench.materializations(), bench.versions()
    interactions = pq.read_table(bench.lake("marts", "interactions.parquet"), columns=["item_id"])
    item = interactions["item_id"][0].as_py()
    corrected = {"title": "Zanzibar"}
    rewrite(bench.dumps / "meta_Small.json.gz", lambda row: {**row, **(corrected if row.get("asin") == item else {})})
    code, said = bench.run(*FEW)
    assert code == 0, said
    after = bench.materializations()
    assert {key: after[key] for key in ID_ONLY} == {key: before[key] for key in ID_ONLY}
    assert after["baselines/bm25_last_item"] == before["baselines/bm25_last_item"] + 1
    assert bench.versions()["training_sets/item_text"] != versions["training_sets/item_text"]


def test_a_changed_dump_makes_again_what_depends_on_it(bench: Workbench) -> None:
    before, versions = bench.materializations(), bench.versions()
    rows = json_lines(bench.dumps / "Small.json.gz")
    last_day = max(row["unixReviewTime"] for row in rows if isinstance(row.get("unixReviewTime"), int))
    interactions = pq.read_table(bench.lake("marts", "interactions.parquet")).to_pylist()
    user, item = interactions[0]["user_id"], interactions[-1]["item_id"]
    more = {"overall": 5.0, "reviewerID": user, "asin": item, "unixReviewTime": last_day + 86_400}
    append(bench.dumps / "Small.json.gz", more)
    code, said = bench.run(*FEW)
    assert code == 0, said
    after = bench.materializations()
    for key in [*ID_ONLY, "evaluation/leaderboard", "evaluation/report"]:
        assert after[key] == before[key] + 1, key
        assert bench.versions()[key] != versions[key], key
    assert after["landing/metadata"] == before["landing/metadata"]


def test_another_fit_fits_everything_again_and_makes_no_data_and_no_codes(bench: Workbench) -> None:
    before, versions = bench.materializations(), bench.versions()
    code, said = bench.run(*FEW, "--fit-on", "train+validation")
    assert code == 0, said
    fitted = {*(f"baselines/{name}" for name in ALWAYS_RUN), "models/tiny_softmax", "models/tiny_fusion"}
    rankings = {f"rankings/{name}" for name in [*ALWAYS_RUN, "tiny_softmax", "tiny_fusion"]}
    audited = {f"audits/{name}" for name in AUDITS}
    assert remade(before, bench.materializations()) == {
        "settings/fit", *fitted, *rankings, *EVALUATION, "evaluation/beyond_accuracy", *audited,
        *RELEASED,
    }  # fmt: skip
    assert all(bench.versions()[key] != versions[key] for key in fitted)
    board = pq.read_table(bench.lake("evaluation", "leaderboard.parquet"))
    assert set(board["fit_on"].to_pylist()) == {"train+validation"}
    assert protocol(board)["fit on"] == "train+validation"
    # the weights of a fusion are chosen on lists of parts that know the training items alone
    weights = json.loads(bench.lake("models", "tiny_fusion", "fusion.json").read_text())
    assert weights["validation ndcg@10 of parts"].keys() == {"tiny_softmax", "markov_chain"}
    assert max(weights["validation ndcg@10 of parts"].values()) < 0.5


def test_another_seed_makes_another_split_and_other_models(bench: Workbench) -> None:
    versions = bench.versions()
    code, said = bench.run(*ANOTHER_SPLIT)
    assert code == 0, said
    after = bench.versions()
    for key in ("marts/splits", "models/tiny_softmax", "models/tiny_fusion", "baselines/random"):
        assert after[key] != versions[key], key
    # the rule for seen items holds for the users who decide when training stops, too
    assert json.loads(bench.lake("models", "tiny_softmax", "config.json").read_text())["validate_with_seen_excluded"]


def test_what_is_random_is_compared_over_its_seeds(bench: Workbench) -> None:
    before = bench.materializations()
    code, said = bench.run(*ANOTHER_SPLIT, "--seeds", "2", "--audit-model", "tiny_softmax")
    assert code == 0, said
    # models of further seeds are measured and not kept; the first ones stay
    assert not {key for key in remade(before, bench.materializations()) if key.startswith(("models/", "rankings/"))}
    rows = {
        row["recommender"]: row for row in pq.read_table(bench.lake("evaluation", "leaderboard.parquet")).to_pylist()
    }
    assert_compared_over_two_seeds(rows)
