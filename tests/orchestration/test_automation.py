"""What is asked for without anybody asking: the sensor, the schedule and the condition, tick by tick."""

import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from workbench import write_small_dump

from ml.recommenders.registry import codes_recipes
from orchestration import code_versions
from orchestration.assets.audits import audit_code
from orchestration.assets.raw import observe
from orchestration.assets.settings import settings_assets
from orchestration.automation.run_requests import run_requests
from orchestration.dataset_lock import dataset_lock
from orchestration.dataset_settings import SLICES
from orchestration.definitions import defs
from orchestration.execution.staleness import asset_graph
from orchestration.paths import Workspace
from orchestration.resources import Settings
from orchestration.selection import unwanted

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


def register(instance: dg.DagsterInstance, dataset: str) -> None:
    instance.add_dynamic_partitions("dataset", [dataset])


def land(home: Path) -> Path:
    folder = home / "landing" / NAME
    write_small_dump(folder)
    return folder / f"{NAME}.json.gz"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def change(dump: Path) -> None:
    lines = gzip.decompress(dump.read_bytes()).splitlines()
    dump.write_bytes(gzip.compress(b"\n".join(lines[:-1]) + b"\n", mtime=0))


def sense(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, repository_def=REPOSITORY, cursor=cursor)
    return REPOSITORY.get_sensor_def("new_dumps")(context)


def take(instance: dg.DagsterInstance, result: dg.SensorResult) -> str:
    """Do what Dagster's daemon does with a result, apart from launching runs; the cursor of the next tick."""
    for request in result.dynamic_partitions_requests:
        instance.add_dynamic_partitions("dataset", list(request.partition_keys))
    for event in result.asset_events:
        instance.report_runless_asset_event(event)
    return result.cursor


def ended(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    job = REPOSITORY.get_job("everything")
    tags = {"dagster/run_key": request.run_key, "dagster/partition": request.partition_key}
    instance.create_run_for_job(job, tags=tags, status=status)


def test_the_sensor_registers_what_lands_and_asks_once_for_each_content(
    home: Path, instance: dg.DagsterInstance
) -> None:
    assert not sense(instance).run_requests
    dump = land(home)
    good = dump.read_bytes()
    result = sense(instance)
    (first,) = result.run_requests
    assert first.partition_key == NAME
    assert dg.AssetKey(["evaluation", "report"]) in first.asset_selection
    cursor = take(instance, result)
    assert instance.get_dynamic_partitions("dataset") == [NAME]
    assert not sense(instance, cursor).run_requests
    change(dump)
    result = sense(instance, cursor)
    (second,) = result.run_requests
    cursor = take(instance, result)
    # content that comes back is asked for again, under a key of its own
    dump.write_bytes(good)
    (third,) = sense(instance, cursor).run_requests
    assert len({first.run_key, second.run_key, third.run_key}) == 3


def test_a_preview_of_the_sensor_changes_nothing(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(home)
    monkeypatch.setattr("ml.data.files._SETTLED_AFTER_NS", -1)  # the dump counts as unchanged for long
    before = files(home)
    (one,), (other,) = (sense(instance).run_requests for _ in range(2))
    assert one == other
    assert not instance.get_dynamic_partitions("dataset")
    assert instance.get_latest_data_version_record(dg.AssetKey(["raw", "reviews"]), partition_key=NAME) is None
    # the digest of a file that it read may be remembered
    assert [path for path in files(home) if not path.name.endswith(".fingerprints.json")] == before


def test_a_run_that_failed_is_asked_for_once_more(home: Path, instance: dg.DagsterInstance) -> None:
    land(home)
    result = sense(instance)
    cursor = take(instance, result)
    ended(instance, result.run_requests[0], dg.DagsterRunStatus.FAILURE)
    result = sense(instance, cursor)
    (again,) = result.run_requests
    cursor = take(instance, result)
    assert not sense(instance, cursor).run_requests
    ended(instance, again, dg.DagsterRunStatus.FAILURE)
    result = sense(instance, cursor)
    assert not result.run_requests
    assert "2 runs failed" in result.skip_reason.skip_message


def test_nothing_is_asked_for_while_a_run_is_under_way(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = land(home)
    result = sense(instance)
    cursor = take(instance, result)
    ended(instance, result.run_requests[0], dg.DagsterRunStatus.STARTED)
    # what is out of date changes while assets are made, and files may land
    change(dump)
    result = sense(instance, cursor)
    assert not result.run_requests
    assert "a run is under way" in result.skip_reason.skip_message
    cursor = take(instance, result)
    # long after it began, the lock of the dataset says whether it lives
    monkeypatch.setattr("orchestration.automation.run_requests._SECONDS_TO_START", -1)
    with dataset_lock(Workspace.current().dataset(NAME), "a run"):
        assert not sense(instance, cursor).run_requests
    assert len(sense(instance, cursor).run_requests) == 1


def test_the_schedule_asks_for_several_datasets(home: Path) -> None:
    names = ("One", "Two")
    with dg.instance_for_test() as instance:
        for name in names:
            write_small_dump(home / "landing" / name, name)
            register(instance, name)
        at = datetime(2026, 1, 2, 3, tzinfo=UTC)
        # the context opens the instance once more, and only leaving it closes that one again
        with dg.build_schedule_context(
            instance=instance, repository_def=REPOSITORY, scheduled_execution_time=at
        ) as context:
            # as the daemon evaluates it, which asks for a key of each of several runs
            requests = REPOSITORY.get_schedule_def("nightly").evaluate_tick(context).run_requests
    assert [request.partition_key for request in requests] == list(names)
    assert len({request.run_key for request in requests}) == 2


def test_the_conditions_observe_the_dumps_themselves(home: Path, instance: dg.DagsterInstance) -> None:
    land(home)
    register(instance, NAME)
    raw = dg.AssetSelection.groups("raw", include_sources=True)
    at = datetime(2026, 1, 2, 3, 1, tzinfo=UTC)
    first = dg.evaluate_automation_conditions(defs, instance, raw, evaluation_time=at)
    soon = dg.evaluate_automation_conditions(
        defs, instance, raw, cursor=first.cursor, evaluation_time=at + timedelta(minutes=1)
    )
    assert soon.total_requested == 0
    later = dg.evaluate_automation_conditions(
        defs, instance, raw, cursor=soon.cursor, evaluation_time=at + timedelta(minutes=5)
    )
    assert later.total_requested == 2


@pytest.mark.parametrize("module", ["ml.baselines.two_hop_graph", "ml.codes.svd", "ml.models.sasrec"])
def test_a_changed_recommender_makes_the_audits_again_that_fit_it(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("duplicates", "ties", "temporal", "leakage", "calibration", "shortcuts")
    before = {name: audit_code(name) for name in names}
    digest = code_versions._digest
    monkeypatch.setattr(code_versions, "_digest", lambda name: "changed" if name == module else digest(name))
    changed = {name for name in names if audit_code(name) != before[name]}
    assert {"duplicates", "ties", "temporal", "leakage"} <= changed
    # these load what is fitted, and do not fit it again
    assert ("calibration" in changed) is module.startswith("ml.models.")
    assert ("shortcuts" in changed) is not module.startswith("ml.codes.")


def test_another_recipe_of_codes_makes_the_audits_again_that_assign_them(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("duplicates", "ties", "temporal", "leakage", "calibration", "shortcuts")
    before = {name: audit_code(name) for name in names}
    recipes = codes_recipes()
    for changed, audits in (("description", set()), ("seed_offset", {"duplicates", "ties", "temporal", "leakage"})):
        other = replace(recipes["svd"], **{changed: "Other." if changed == "description" else 1})
        monkeypatch.setattr("orchestration.assets.audits.codes_recipes", lambda other=other: {**recipes, "svd": other})
        assert {name for name in names if audit_code(name) != before[name]} == audits


def test_what_states_the_protocol_is_made_again_with_it_and_no_model() -> None:
    graph = asset_graph()
    above = dg.AssetKey(["training_sets", "protocol"])
    below = dg.AssetSelection.assets(above).downstream(include_self=False).resolve(graph)
    # the card of the Hugging Face dataset says how the split was made
    card = dg.AssetKey(["training_sets", "hugging_face"])
    assert {key.path[0] for key in below - {card}} == {"evaluation", "audits", "release"}
    for states_it in (card, dg.AssetKey(["evaluation", "leaderboard"])):
        assert above in graph.get(states_it).parent_keys


def test_the_schedule_asks_for_what_is_out_of_date(home: Path, instance: dg.DagsterInstance) -> None:
    land(home)
    assert run_requests(instance, asset_graph()) == ([], [])
    register(instance, NAME)
    ((request,), _) = run_requests(instance, asset_graph())
    assert request.partition_key == NAME
    assert set(request.asset_selection) == asset_graph().materializable_asset_keys - unwanted(asset_graph(), [])


def test_the_schedule_goes_on_with_the_recipes_that_were_chosen(home: Path, instance: dg.DagsterInstance) -> None:
    land(home)
    register(instance, NAME)
    written = Workspace.current().dataset(NAME).asset("settings") / "comparison.json"
    written.parent.mkdir(parents=True)
    written.write_text('{"recipes": ["tiny_gsasrec"]}')
    ((request,), _) = run_requests(instance, asset_graph())
    asked = {key.to_user_string() for key in request.asset_selection}
    assert {key for key in asked if key.startswith(("models/", "codes/"))} == {"models/tiny_gsasrec"}


def damage(home: Path, what: str) -> str:
    """Damage what belongs to one dataset; what the sensor and the schedule say of it."""
    name = "Damaged"
    paths = Workspace.current().dataset(name)
    write_small_dump(home / "landing" / name, name)
    if what == "registration":
        paths.registration.parent.mkdir(parents=True, exist_ok=True)
        paths.registration.write_text("{")
        return f"{name}: {paths.registration} is not a TOML file"
    written = paths.asset("settings") / "comparison.json"
    written.parent.mkdir(parents=True)
    written.write_text(what)
    return f"{name}: {written} cannot be used"


@pytest.mark.parametrize("what", ["registration", "{", "{}", "[]", "1"])
def test_a_damaged_dataset_is_named_and_the_others_go_on(home: Path, instance: dg.DagsterInstance, what: str) -> None:
    said = damage(home, what)
    result = sense(instance)
    assert not result.run_requests
    assert said in result.skip_reason.skip_message
    # it is registered all the same, so that it is seen in the UI
    take(instance, result)
    assert instance.get_dynamic_partitions("dataset") == ["Damaged"]
    land(home)
    register(instance, NAME)
    assert [request.partition_key for request in sense(instance).run_requests] == [NAME]
    requests, problems = run_requests(instance, asset_graph())
    assert [request.partition_key for request in requests] == [NAME]
    assert len(problems) == 1
    assert problems[0].startswith(said)


def test_settings_that_cannot_be_read_fail_no_evaluation_of_conditions(
    home: Path, instance: dg.DagsterInstance
) -> None:
    damage(home, "{")
    register(instance, "Damaged")
    found = dg.evaluate_automation_conditions(defs, instance, dg.AssetSelection.assets(["codes", "svd"]))
    assert found.total_requested == 0


def test_the_schedule_names_a_damaged_dataset_where_it_asks_for_nothing(home: Path) -> None:
    said = damage(home, "registration")
    at = datetime(2026, 1, 2, 3, tzinfo=UTC)
    with dg.instance_for_test() as instance:
        register(instance, "Damaged")
        with dg.build_schedule_context(
            instance=instance, repository_def=REPOSITORY, scheduled_execution_time=at
        ) as context:
            tick = REPOSITORY.get_schedule_def("nightly").evaluate_tick(context)
    assert not tick.run_requests
    assert said in tick.skip_message


def test_names_that_are_not_allowed_are_named(home: Path, instance: dg.DagsterInstance) -> None:
    long = "n" * 201
    for name in ("All Beauty", long, "-x"):
        write_small_dump(home / "landing" / name, "Small")
    (home / "datasets").mkdir()
    (home / "datasets" / "All Beauty.json").write_text('{"dumps": "landing/All Beauty"}')
    said = sense(instance).skip_reason.skip_message
    for named in ("landing/All Beauty is passed over: ", f"landing/{long}", "landing/-x", "datasets/All Beauty.json"):
        assert named in said
    land(home)
    result = sense(instance)
    assert [request.partition_key for request in result.run_requests] == [NAME]
    assert result.dynamic_partitions_requests[0].partition_keys == [NAME]


def test_a_recipe_that_is_gone_is_refused_by_the_settings_and_fails_no_tick(
    home: Path, instance: dg.DagsterInstance
) -> None:
    land(home)
    register(instance, NAME)
    folder = Workspace.current().dataset(NAME).asset("settings")
    folder.mkdir(parents=True)
    (folder / "audits.json").write_text('{"audit_model": "gone"}')
    (request,) = sense(instance).run_requests
    assert dg.AssetKey(["settings", "audits"]) in request.asset_selection
    (asset,) = (one for one in settings_assets if one.key == dg.AssetKey(["settings", "audits"]))
    with pytest.raises(dg.Failure, match="there is no recipe gone for AUDIT_MODEL"):
        asset(dg.build_asset_context(partition_key=NAME, instance=instance), settings=Settings())


def test_a_workspace_can_be_moved(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (home / "mine").mkdir()
    (home / "source.toml").write_text('layout = "amazon_2018"\n')
    paths = {name: Workspace(home).dataset(name) for name in ("One", "Two", "Three")}
    paths["One"].register(None)
    paths["Two"].register(home / "mine", source=home / "source.toml")
    paths["Three"].register(elsewhere)
    for name in ("One", "Two"):
        assert str(home) not in paths[name].registration.read_text()
    moved = home.rename(home.with_name(f"{home.name}-moved"))
    after = {name: Workspace(moved).dataset(name) for name in paths}
    assert after["One"].dumps == moved / "landing" / "One"
    assert after["Two"].dumps == moved / "mine"
    assert after["Two"].source_description.layout == "amazon_2018"
    assert after["Three"].dumps == elsewhere


# every asset has the same condition; evaluating all of them at every tick takes a minute
LAYERS = dg.AssetSelection.groups("settings", "landing", "staging")


class Ticks:
    """The automation daemon, by hand."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor = None

    def requested(self) -> set[str]:
        known = self.instance.get_dynamic_partitions("dataset")
        with pytest.MonkeyPatch.context() as patch:
            # no dataset comes or goes meanwhile, and Dagster asks for them a thousand times
            patch.setattr(self.instance, "get_dynamic_partitions", lambda partitions_def_name: known)
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
