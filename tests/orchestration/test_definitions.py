"""What the asset graph promises to whoever looks at it."""

import dagster as dg
import pytest

from ml.baselines.registry import BASELINES
from ml.recommenders.choice import chosen_names
from ml.recommenders.registry import (
    alignment_names,
    codes_recipes,
    fusion_names,
    language_model_names,
    recipe_names,
    recommender_names,
    reranking_names,
)
from orchestration.contracts.frames import READS
from orchestration.definitions import defs
from orchestration.resources import DEFAULTS
from orchestration.selection import MORE_RECIPES, ON_DEMAND, is_chosen, unwanted

GRAPH = defs.resolve_asset_graph()
KEYS = sorted(GRAPH.materializable_asset_keys | GRAPH.external_asset_keys)
LAYERS = {
    "settings", "raw", "landing", "staging", "intermediate", "marts", "training_sets", "baselines", "codes",
    "teacher_lists", "models", "rankings", "evaluation", "audits", "searches", "release",
}  # fmt: skip


def test_the_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(defs)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.to_user_string())
def test_every_asset_says_what_it_is(key: dg.AssetKey) -> None:
    node = GRAPH.get(key)
    assert len(key.path) == 2
    assert key.path[0] in LAYERS
    further = key.path[0] in {"baselines", "models", "rankings", "codes", "teacher_lists"} and not is_chosen(
        key, chosen_names([])
    )
    assert node.group_name == (MORE_RECIPES if further else key.path[0])
    assert node.description
    assert node.owners
    assert node.kinds
    assert node.partitions_def is not None
    assert node.partitions_def.name == "dataset"


def test_every_made_asset_has_a_code_version_and_the_condition() -> None:
    for key in GRAPH.materializable_asset_keys:
        if key.path[0] == ON_DEMAND:
            # no change elsewhere makes them again
            assert GRAPH.get(key).automation_condition is None, key
            continue
        assert GRAPH.get(key).code_version, key
        assert GRAPH.get(key).automation_condition is not None, key


def test_every_recommender_is_fitted_ranked_and_compared() -> None:
    names = recommender_names()
    assert names == [
        *BASELINES,
        *recipe_names(),
        *fusion_names(),
        *reranking_names(),
        *alignment_names(),
        *language_model_names(),
    ]
    ranked = {key.path[-1] for key in GRAPH.materializable_asset_keys if key.path[0] == "rankings"}
    assert ranked == set(names)
    assert {key.path[-1] for key in GRAPH.get(dg.AssetKey(["evaluation", "user_metrics"])).parent_keys} >= ranked


def test_identities_alone_lead_to_models_that_read_no_text() -> None:
    """A corrected price must not retrain them: nothing of the metadata lies above."""
    for key in GRAPH.materializable_asset_keys:
        of_text = key.path[0] == "codes" and codes_recipes()[key.path[-1]].needs_text
        # taught lists that are re-ranked by categories
        of_text = of_text or key.path in (["models", "tiny_student"], ["models", "aligned_tiny_student"])
        if (key.path[0] in {"models", "codes"} and not of_text) or key == dg.AssetKey(["baselines", "markov_chain"]):
            above = {ancestor.to_user_string() for ancestor in ancestors(key)}
            assert "raw/reviews" in above
            assert not above & {"raw/metadata", "marts/items", "training_sets/item_text"}, key
    for reader in (["baselines", "bm25_last_item"], ["codes", "tiny_text"]):
        assert dg.AssetKey(["raw", "metadata"]) in ancestors(dg.AssetKey(reader))
    assert dg.AssetKey(["training_sets", "text_vectors"]) in GRAPH.get(dg.AssetKey(["codes", "tiny_text"])).parent_keys


def test_what_was_chosen_reaches_exactly_what_reads_it() -> None:
    readers = {
        name: {key.path[0] for key in GRAPH.get(dg.AssetKey(["settings", name])).child_keys}
        for name in ("training", "fit", "ranking", "comparison", "seeds", "folds", "audits")
    }
    # the report, in the group of the evaluation, prints all of them
    recommenders = {"baselines", "models", "rankings"}
    assert readers == {
        "training": recommenders | {"codes", "teacher_lists", "evaluation", "audits", "searches", "release"},
        "fit": {"baselines", "models", "teacher_lists", "evaluation", "audits"},
        # the rule for seen items holds for validation users too, who decide when training stops
        "ranking": {"models", "teacher_lists", "rankings", "evaluation", "audits", "searches", "release"},
        "comparison": {"evaluation", "audits"},
        "seeds": {"evaluation"},
        # no training set is made where one of the folds cannot be
        "folds": {"training_sets", "evaluation"},
        # the report names every choice
        "audits": {"audits", "evaluation"},
    }


def test_every_audit_is_in_the_report_and_warns_without_blocking() -> None:
    audits = {key for key in GRAPH.materializable_asset_keys if key.path[0] == "audits"}
    assert {key.path[-1] for key in audits} == {
        "duplicates", "ties", "leakage", "shortcuts", "calibration", "temporal",
    }  # fmt: skip
    assert audits <= GRAPH.get(dg.AssetKey(["evaluation", "report"])).parent_keys
    checks = {dg.AssetCheckKey(key, "no_concern") for key in audits}
    checks.add(dg.AssetCheckKey(dg.AssetKey(["evaluation", "leaderboard"]), "better_than_popularity"))
    for check in checks:
        assert not GRAPH.get(check).blocking
        # of each dataset by itself
        assert GRAPH.get(check).partitions_def is not None


def test_nothing_is_fitted_on_what_an_audit_says() -> None:
    for key in GRAPH.materializable_asset_keys:
        if key.path[0] == "audits":
            assert GRAPH.get(key).child_keys == {dg.AssetKey(["evaluation", "report"])}


def test_a_fusion_is_made_of_its_parts() -> None:
    model = dg.AssetKey(["models", "tiny_fusion"])
    parts = {dg.AssetKey(["models", "tiny_softmax"]), dg.AssetKey(["baselines", "markov_chain"])}
    assert parts <= GRAPH.get(model).parent_keys
    assert {model, *parts} <= GRAPH.get(dg.AssetKey(["rankings", "tiny_fusion"])).parent_keys


def test_a_re_ranking_is_made_of_its_part_and_the_parts_of_it() -> None:
    model = dg.AssetKey(["models", "mmr_0.3_of_tiny_fusion"])
    parts = {dg.AssetKey(["models", name]) for name in ("tiny_fusion", "tiny_softmax")}
    parts.add(dg.AssetKey(["baselines", "markov_chain"]))
    assert parts <= GRAPH.get(model).parent_keys
    assert {model, *parts} <= GRAPH.get(dg.AssetKey(["rankings", "mmr_0.3_of_tiny_fusion"])).parent_keys
    assert model in GRAPH.get(dg.AssetKey(["evaluation", "report"])).parent_keys


def ancestors(key: dg.AssetKey) -> set[dg.AssetKey]:
    found, waiting = set(), [key]
    while waiting:
        for parent in GRAPH.get(waiting.pop()).parent_keys - found:
            found.add(parent)
            waiting.append(parent)
    return found


def test_contracts_and_dbt_tests_block() -> None:
    blocking = {(key.asset_key.to_user_string(), key.name) for key in GRAPH.asset_check_keys if GRAPH.get(key).blocking}
    for asset in (
        "landing/reviews",
        "landing/metadata",
        "staging/stg_reviews",
        "marts/interactions",
        "marts/splits",
    ):
        assert (asset, "contract") in blocking
    assert ("marts/reconciliation", "assert_no_row_is_unexplained") in blocking


def test_the_job_of_the_default_recipes_plans_nothing_else() -> None:
    planned = defs.resolve_job_def("everything").asset_layer.selected_asset_keys
    assert planned == GRAPH.materializable_asset_keys - unwanted(GRAPH, [])
    every = defs.resolve_job_def("all_recipes").asset_layer.selected_asset_keys
    assert {key for key in GRAPH.materializable_asset_keys if key.path[0] != ON_DEMAND} == every


@pytest.mark.parametrize("name", ["everything", "all_recipes", "data"])
def test_a_job_makes_what_its_contracts_read(name: str) -> None:
    """On a new dataset nothing else has made it."""
    planned = defs.resolve_job_def(name).asset_layer
    for contract, keys in READS.items():
        if dg.AssetKey.from_user_string(contract) in planned.selected_asset_keys:
            assert {dg.AssetKey.from_user_string(key) for key in keys} <= planned.selected_asset_keys


@pytest.mark.parametrize("name", ["everything", "all_recipes", "data"])
def test_a_job_makes_the_settings_that_its_assets_read(name: str) -> None:
    """On a new dataset nothing else has made them."""
    planned = defs.resolve_job_def(name).asset_layer.selected_asset_keys
    read = {parent for key in planned for parent in GRAPH.get(key).parent_keys if parent.path[0] == "settings"}
    assert read
    assert read <= planned


@pytest.mark.parametrize("name", ["everything", "all_recipes", "data"])
def test_the_launchpad_opens_with_the_settings_and_nothing_else(name: str) -> None:
    job = defs.resolve_job_def(name)
    shown = job.partitioned_config.get_run_config_for_partition_key("Shop")
    assert shown == {"resources": {"settings": {"config": dict.fromkeys(DEFAULTS)}}}
    assert dg.validate_run_config(job, shown)
    resources = job.run_config_schema.config_type.fields["resources"].config_type.fields
    kinds = {key: field.config_type.fields["config"].config_type for key, field in resources.items()}
    configured = {key for key, kind in kinds.items() if getattr(kind, "fields", None)}
    # Dagster's own has one optional field
    assert configured == {"settings", "io_manager"}


def test_no_run_that_makes_something_starts_by_itself() -> None:
    repository = defs.get_repository_def()
    assert all(s.default_status == dg.DefaultScheduleStatus.STOPPED for s in repository.schedule_defs)
    status = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    # they make the names of datasets known, and have a check evaluated
    for name in ("register_landed", "show_staleness"):
        assert status.pop(name) == dg.DefaultSensorStatus.RUNNING
    alerts = ("alert_on_failure", "alert_on_failed_checks", "alert_on_silence", "alert_on_overdue")
    sensors = ("new_dumps", "on_new_data_sensor", *alerts)
    assert status == dict.fromkeys(sensors, dg.DefaultSensorStatus.STOPPED)


def test_the_launchpad_takes_every_setting() -> None:
    job = defs.resolve_job_def("everything")
    config = {
        "k_core": 3,
        "tie_order": "file",
        "seed": 4,
        "recipes": recipe_names()[:1],
        "exclude_seen": True,
        "fit_on": "train+validation",
        "training_process": "subprocess",
        "training_processes": 2,
        "device": "auto",
        "precision": "bfloat16",
        "sharding": "full",
        "compile": False,
    }
    assert dg.validate_run_config(job, {"resources": {"settings": {"config": config}}})
