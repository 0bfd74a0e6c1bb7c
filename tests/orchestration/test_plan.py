"""What is made again when one thing changes: the same by make run, by the schedule and by the sensor."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from random import Random

import dagster as dg
import pytest
from costs import others_slow
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.events import AssetMaterializationPlannedData
from dagster._core.loader import LoadingContext
from dagster._core.utils import make_new_run_id
from dagster_shared.record import replace as replaced_record
from plan_bench import (
    GRAPH,
    NAME,
    RECIPES,
    WANTED,
    asked,
    below,
    evaluate,
    names,
    replaced_code,
    rewrite,
    run,
    settle,
    versions,
    write_settings,
)
from workbench import write_small_dump

from ml.data.setting_names import by_first_name
from orchestration.automation.run_requests import run_requests, sense
from orchestration.contracts import checks as contracts
from orchestration.contracts import files as contract_files
from orchestration.dbt import ensure_manifest
from orchestration.definitions import defs
from orchestration.execution import staleness
from orchestration.execution.plan import _made_of_something_else, plan
from orchestration.execution.records import Records
from orchestration.paths import REPOSITORY, Workspace
from orchestration.resources import DEFAULTS, Settings

# `make test` makes the row of docs/what_reruns.md, in test_what_reruns.py
ON_THE_PAGE = pytest.mark.slow
# another one goes the same way
PROVES_AGAIN = pytest.mark.slow


@ON_THE_PAGE
def test_where_nothing_has_changed_nothing_is_made(instance: dg.DagsterInstance) -> None:
    assert asked(instance) == set()


REPORT = "evaluation/report"


@ON_THE_PAGE
def test_a_row_of_the_dump(home: Path, instance: dg.DagsterInstance) -> None:
    rewrite(home / "landing" / NAME / f"{NAME}.json.gz", lambda text: text[: text.rindex(b"{")])
    assert asked(instance) == below("landing/reviews", but=["landing/metadata"])


def test_a_price_by_the_content_that_it_changes(home: Path, instance: dg.DagsterInstance) -> None:
    rewrite(home / "landing" / NAME / f"meta_{NAME}.json.gz", lambda text: text.replace(b"$", b"$1", 1))
    # an ID-only model is below the items in the warehouse; its input has the same content
    text = {"landing/metadata", "staging/stg_metadata", "intermediate/int_metadata_deduplicated", "marts/items"}
    text |= {"training_sets/item_text", "training_sets/text_vectors"}
    found = run(instance, defs, lambda key: "2" if key.to_user_string() in text else "1")
    in_layers = {name for name in below("landing/metadata") if name.split("/")[0] in staleness.CHECKED_LAYERS}
    reading = {child for name in text for child in GRAPH.get(dg.AssetKey(name.split("/"))).child_keys & WANTED}
    assert found == in_layers | below(*(names(reading) - in_layers))
    assert "baselines/bm25_last_item" in found
    assert not {"models/tiny_softmax", "baselines/markov_chain", "training_sets/sequences"} & found


@pytest.mark.parametrize(
    ("setting", "roots"),
    [
        ({"k_core": 4}, ["settings/dataset"]),
        pytest.param({"seed": 1}, ["settings/dataset", "settings/training"], marks=PROVES_AGAIN),
        pytest.param({"fit_on": "train+validation"}, ["settings/fit"], marks=ON_THE_PAGE),
        pytest.param({"seeds": 2}, ["settings/seeds"], marks=ON_THE_PAGE),
        ({"audit_model": "tiny_softmax"}, ["settings/audits"]),
        ({"device": "auto"}, []),
        pytest.param({"threads": 2}, [], marks=ON_THE_PAGE),
    ],
)
def test_a_setting(instance: dg.DagsterInstance, setting: dict, roots: list[str]) -> None:
    expected = below(*roots) if roots else set()
    assert names(plan(instance, GRAPH, NAME, Settings(**{**DEFAULTS, **setting}))) == expected
    assert run(instance, defs, lambda _: "2", **setting) == expected
    # once written down, it is what the schedule and the sensor go on with
    write_settings(**setting)
    assert run_requests(instance, GRAPH) == ([], [])
    assert sense(instance, GRAPH, None)[0].run_requests == []


@pytest.mark.parametrize(
    ("setting", "roots"),
    [
        pytest.param("k_core = 4", ["settings/dataset"], marks=ON_THE_PAGE),
        ("seed = 1", ["settings/dataset", "settings/training"]),
        ('fit_on = "train+validation"', ["settings/fit"]),
        pytest.param("seeds = 2", ["settings/seeds"], marks=PROVES_AGAIN),
        ('recipes = ["quick"]\nk_core = 5', []),
        pytest.param("threads = 2", [], marks=ON_THE_PAGE),
    ],
)
def test_a_setting_in_the_file_of_the_dataset(instance: dg.DagsterInstance, setting: str, roots: list[str]) -> None:
    expected = below(*roots) if roots else set()
    paths = Workspace.current().dataset(NAME)
    paths.register(None)
    paths.registration.write_text(f"{paths.registration.read_text()}\n{setting}\n")
    assert names(plan(instance, GRAPH, NAME)) == expected
    requests, problems = run_requests(instance, GRAPH)
    assert problems == []
    assert {name for request in requests for name in names(request.asset_selection)} == expected
    sensed, problems = sense(instance, GRAPH, None)
    assert problems == []
    assert {name for request in sensed.run_requests for name in names(request.asset_selection)} == expected
    # what a run is given holds for that run
    assert plan(instance, GRAPH, NAME, Settings(**DEFAULTS)) == {}


def test_settings_written_down_under_old_names(instance: dg.DagsterInstance) -> None:
    path = Workspace.current().dataset(NAME).asset("settings") / "dataset.json"
    path.write_text(json.dumps(by_first_name(json.loads(path.read_text()))))
    assert "minimum_history" in path.read_text()
    assert asked(instance) == set()


def test_another_rule_for_seen_items_is_checked_too(instance: dg.DagsterInstance) -> None:
    # nothing that is above the rankings changes its content, but a check of the training set reads the setting
    found = names(plan(instance, GRAPH, NAME, Settings(**{**DEFAULTS, "exclude_seen": True})))
    assert found == {*below("settings/ranking"), "training_sets/sequences"}
    assert run(instance, defs, lambda _: "2", exclude_seen=True) >= {"settings/ranking", "training_sets/sequences"}
    write_settings(exclude_seen=True)
    assert run_requests(instance, GRAPH) == ([], [])


# what fits baselines, models and codes again, and what loads models
REFITS = ["audits/duplicates", "audits/ties", "audits/temporal", "audits/leakage"]
LOADS = ["audits/shortcuts", "audits/calibration", "release/progress"]
SASREC = ["models/tiny_softmax", "models/tiny_recjpq"]


@pytest.mark.parametrize(
    ("module", "roots"),
    [
        pytest.param("ml.baselines.repeat_last", ["baselines/repeat_last", *REFITS], marks=ON_THE_PAGE),
        ("ml.codes.svd", ["codes/svd", *REFITS]),
        pytest.param("ml.models.sasrec", [*SASREC, *REFITS, *LOADS], marks=ON_THE_PAGE),
        pytest.param("ml.audits.ties", ["audits/ties"], marks=PROVES_AGAIN),
        pytest.param(
            *("ml.evaluation.slices", ["evaluation/slices", "evaluation/what_helps", "release/decision"]),
            marks=ON_THE_PAGE,
        ),
        pytest.param("ml.reports.render.html", [REPORT], marks=ON_THE_PAGE),
        pytest.param("ml.data.drift.acceptance", ["marts/accepted"], marks=PROVES_AGAIN),
    ],
)
def test_code(instance, rebuilt, monkeypatch: pytest.MonkeyPatch, module: str, roots: list[str]) -> None:
    replaced_code(monkeypatch, module)
    assert asked(instance, rebuilt()) == below(*roots)


@pytest.mark.parametrize(
    ("library", "roots"),
    [
        pytest.param(
            "torch",
            [*SASREC, "models/tiny_fusion", "rankings/tiny_fusion", "evaluation/further_seeds", *REFITS, *LOADS],
            marks=ON_THE_PAGE,
        ),
        pytest.param(
            "scikit-learn",
            [
                "codes/svd",
                "training_sets/text_vectors",
                "baselines/text_graph_last",
                "baselines/text_graph_last_two",
                "evaluation/list_metrics",
                "release/progress",
                *REFITS,
            ],
            marks=PROVES_AGAIN,
        ),
        pytest.param("dbt-core", ["staging/*", "intermediate/*", "marts/*"], marks=ON_THE_PAGE),
        pytest.param("msgspec", ["landing/*"], marks=PROVES_AGAIN),
        pytest.param("great-expectations", [REPORT], marks=PROVES_AGAIN),
        pytest.param("tqdm", [], marks=ON_THE_PAGE),
    ],
)
def test_a_library(instance, rebuilt, monkeypatch: pytest.MonkeyPatch, library: str, roots: list[str]) -> None:
    known = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "99.1" if name == library else known(name))
    assert asked(instance, rebuilt()) == (below(*roots) if roots else set())


def test_a_template_of_the_report(instance, rebuilt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    shutil.copytree(REPOSITORY / "ml" / "reports" / "render" / "templates", folder)
    (folder / "report.css").write_text("body { color: red }")
    known = Path.iterdir
    templates = REPOSITORY / "ml" / "reports" / "render" / "templates"
    monkeypatch.setattr(Path, "iterdir", lambda path: known(folder if path == templates else path))
    assert asked(instance, rebuilt()) == below(REPORT, "release/decision")


@pytest.mark.parametrize(
    ("line", "other", "roots"),
    [
        pytest.param("max_epochs = 2", "max_epochs = 3", ["models/tiny_softmax"], marks=ON_THE_PAGE),
        # a title is printed, and trains nothing
        ('title = "Tiny', 'title = "Another tiny', ["evaluation/leaderboard", "evaluation/folds"]),
        pytest.param('notes = "Learns', 'notes = "Understands', [], marks=ON_THE_PAGE),
    ],
)
def test_a_recipe(
    instance, rebuilt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, other: str, roots: list[str]
) -> None:
    shutil.copytree(RECIPES, tmp_path / "recipes")
    recipe = tmp_path / "recipes" / "tiny_softmax.toml"
    assert line in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(line, other))
    monkeypatch.setenv("RAW2RANK_RECIPES", str(tmp_path / "recipes"))
    assert asked(instance, rebuilt()) == (below(*roots) if roots else set())


def test_a_recipe_that_the_audits_train(instance, rebuilt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(instance, defs, lambda _: "1", audit_model="tiny_gsasrec")
    write_settings(audit_model="tiny_gsasrec")
    shutil.copytree(RECIPES, tmp_path / "recipes")
    recipe = tmp_path / "recipes" / "tiny_gsasrec.toml"
    recipe.write_text(recipe.read_text().replace("learning_rate = 0.", "learning_rate = 0.9"))
    monkeypatch.setenv("RAW2RANK_RECIPES", str(tmp_path / "recipes"))
    definitions = rebuilt()
    requests, problems = run_requests(instance, definitions.resolve_asset_graph())
    assert problems == []
    assert {name for request in requests for name in names(request.asset_selection)} == below("settings/audits")


@ON_THE_PAGE
def test_a_contract(instance, rebuilt, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed() -> list[contract_files.Contract]:
        found = contract_files.load_contracts()
        return [
            replace(contract, rules=contract.rules[1:]) if contract.name == "marts/splits" else contract
            for contract in found
        ]

    monkeypatch.setattr(contracts, "load_contracts", changed)
    # held again; the content stays, and the report shows what was found
    assert asked(instance, rebuilt(), changed=[]) == {"marts/splits", REPORT}


@pytest.mark.parametrize(
    ("section", "name", "roots"),
    [
        ("nodes", "model.raw2rank.int_split_boundaries", ["intermediate/int_split_boundaries"]),
        pytest.param("macros", "macro.raw2rank.plain_price", ["staging/stg_metadata"], marks=PROVES_AGAIN),
        # called by another macro
        pytest.param("macros", "macro.raw2rank.windows_1252", ["staging/stg_metadata"], marks=PROVES_AGAIN),
        # called by a materialization
        (
            "macros",
            "macro.raw2rank.by_file_exchange",
            [
                *("staging/stg_metadata", "intermediate/int_metadata_deduplicated"),
                "intermediate/int_interactions_deduplicated",
            ],
        ),
        ("macros", "macro.raw2rank.test_never_null", None),
    ],
)
def test_the_warehouse(
    instance, rebuilt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, section: str, name: str, roots: list[str] | None
) -> None:
    project = ensure_manifest()
    manifest = json.loads(project.manifest_path.read_text())
    manifest[section][name]["raw_code" if section == "nodes" else "macro_sql"] += " -- another"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(
        "orchestration.dbt.ensure_manifest",
        lambda: replaced_record(project, manifest_path=tmp_path / "manifest.json"),
    )
    if roots is None:
        tested = {
            "/".join((model["schema"], model["name"]))
            for test in manifest["nodes"].values()
            if test["resource_type"] == "test" and name in test["depends_on"]["macros"]
            for model in (manifest["nodes"][test["attached_node"]],)
        }
        assert tested
        assert asked(instance, rebuilt(), changed=[]) == {*tested, REPORT}
    else:
        assert asked(instance, rebuilt()) == below(*roots)


@ON_THE_PAGE
def test_files_that_somebody_removed(home: Path, instance: dg.DagsterInstance) -> None:
    (home / "lake" / NAME / "evaluation" / "slices.json").unlink()
    assert asked(instance) == {"evaluation/slices", REPORT}


def test_what_a_run_set_out_to_make_and_did_not(instance: dg.DagsterInstance) -> None:
    key = dg.AssetKey(["evaluation", "slices"])
    planned = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
        job_name="everything",
        event_specific_data=AssetMaterializationPlannedData(key, partition=NAME),
    )
    instance.report_dagster_event(planned, run_id=make_new_run_id())
    assert asked(instance) == {"evaluation/slices", REPORT}


def test_a_check_that_did_not_pass(instance: dg.DagsterInstance) -> None:
    key = dg.AssetKey(["training_sets", "sequences"])
    with instance.event_log_storage.index_connection() as connection:
        connection.exec_driver_sql("update asset_check_executions set run_id = 'earlier ' || id where run_id = ''")
    storage_id = Records(instance, NAME, [key]).made[key].storage_id
    evaluate(instance, GRAPH, dg.AssetCheckKey(key, "contract"), storage_id, passed=False)
    reasons = plan(instance, GRAPH, NAME)
    assert reasons[key] == "check contract has not passed"
    assert names(reasons) == below("training_sets/sequences")


def test_datasets_do_not_touch_one_another(home: Path, instance: dg.DagsterInstance) -> None:
    write_small_dump(home / "landing" / "Other", "Other")
    instance.add_dynamic_partitions("dataset", ["Other"])
    (request,), problems = run_requests(instance, GRAPH)
    assert problems == []
    assert request.partition_key == "Other"
    assert names(request.asset_selection) == names(WANTED)


class _Loading(LoadingContext):
    """What Dagster's resolver asks for."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance, self._loaders = instance, {}

    @property
    def instance(self) -> dg.DagsterInstance:
        return self._instance

    @property
    def loaders(self) -> dict:
        return self._loaders


@pytest.mark.parametrize("seed", others_slow(range(2), 0))
def test_what_is_stale_is_what_the_badges_of_the_ui_say(instance: dg.DagsterInstance, seed: int) -> None:
    # assets made again at random, with the same content or another, each of what was there at that moment
    random = Random(seed)
    for _ in range(5):
        some = random.sample(sorted(WANTED), 6)
        settle(instance, GRAPH, some, lambda key: versions(key) if random.random() < 0.5 else f"{random.random()}")
    resolver = CachingStaleStatusResolver(instance, GRAPH, _Loading(instance))
    stale = {key for key in WANTED if resolver.get_status(key, NAME) != StaleStatus.FRESH}
    records = Records(instance, NAME, GRAPH.get_all_asset_keys())
    assert stale
    assert {key for key in WANTED if _made_of_something_else(records, GRAPH, key, {})} == stale
