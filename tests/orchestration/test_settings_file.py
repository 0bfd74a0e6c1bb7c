"""The file of a dataset: where its dumps lie and its settings, edited by people and kept by every command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import dagster as dg
import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workbench import write_small_dump

from orchestration.assets.settings import settings_assets
from orchestration.automation.run_requests import sense
from orchestration.commands import run
from orchestration.dataset_settings import chosen_for, execution_of, file_settings, kept_for, origins
from orchestration.definitions import defs
from orchestration.options import kind_of
from orchestration.partitions import datasets
from orchestration.paths import ITEM_FILES, DatasetPaths, Workspace
from orchestration.resources import DEFAULTS, SETTINGS, Settings
from orchestration.settings_file import RegistrationError

NAME = "Shop"
GRAPH = defs.resolve_asset_graph()


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    return Workspace.current().dataset(NAME)


@pytest.fixture
def instance(paths: DatasetPaths) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(datasets.name, [NAME])
        yield instance


def write(paths: DatasetPaths, text: str) -> None:
    paths.registration.parent.mkdir(parents=True, exist_ok=True)
    paths.registration.write_text(text, encoding="utf-8")


# --- where the files lie


def test_what_a_person_wrote_stays(paths: DatasetPaths, tmp_path: Path) -> None:
    write(paths, 'layout = "table" # mine\n# first\n\n[settings] # chosen\nk_core = 3 # three\n')
    paths.register(tmp_path / "dumps")
    text = paths.registration.read_text()
    assert paths.dumps == tmp_path / "dumps"
    assert paths.source_description is None
    assert "# first" in text
    assert text.endswith("[settings] # chosen\nk_core = 3 # three\n")
    paths.register(tmp_path / "dumps", layout="table", source=tmp_path / "source.toml")
    assert paths.source_file == tmp_path / "source.toml"
    assert file_settings(NAME) == {"k_core": 3}


def test_a_registration_of_an_earlier_version_is_carried_over(instance, paths: DatasetPaths, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "source.toml").write_text('layout = "table"\n')
    old = paths.registration.with_suffix(".json")
    old.parent.mkdir()
    old.write_text(json.dumps({"dumps": "mine", "layout": "table", "source": "source.toml"}))
    assert Workspace.current().registered() == [NAME]
    before = (paths.dumps, paths.source_file)
    run.register(instance, paths, run.parse([f"--dataset={NAME}"]))
    assert before == (paths.dumps, paths.source_file) == (tmp_path / "mine", tmp_path / "source.toml")
    assert 'layout = "table"' in paths.registration.read_text()
    assert not old.exists()
    # killed between the two, both are there
    old.write_text('{"dumps": "elsewhere"}')
    assert paths.dumps == tmp_path / "mine"
    assert Workspace.current().registered() == [NAME]


def test_a_run_without_files_named_leaves_the_file_alone(instance, paths: DatasetPaths) -> None:
    paths.dumps.mkdir(parents=True)
    run.register(instance, paths, run.parse([f"--dataset={NAME}"]))
    text = paths.registration.read_text()
    assert 'dumps = "landing/Shop"' in text
    assert file_settings(NAME) == {}
    write(paths, text + "k_core = 3\n")
    run.register(instance, paths, run.parse([f"--dataset={NAME}", "K_CORE=7"]))
    assert paths.registration.read_text() == text + "k_core = 3\n"


def test_a_folder_that_cannot_be_written_as_text_is_refused(paths: DatasetPaths, tmp_path: Path) -> None:
    paths.register(None)
    before = paths.registration.read_text()
    with pytest.raises(RegistrationError, match="is not text in UTF-8"):
        paths.register(tmp_path / "a\udcffb")
    assert paths.registration.read_text() == before


@pytest.mark.parametrize("text", ["[settings", "k_core = ", "a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_named_and_never_written_over(paths: DatasetPaths, text: str) -> None:
    write(paths, text)
    for use in (lambda: paths.dumps, lambda: paths.source_description, lambda: paths.register(None)):
        with pytest.raises(RegistrationError, match=rf"^{re.escape(str(paths.registration))} is not a TOML file"):
            use()
    assert paths.registration.read_text() == text


# --- what is not possible

MISTAKES = [
    ("k_core = 3", 3, "there is no key k_core; there are dumps, layout, source and the table [settings]"),
    ('dumpz = "a"', 3, "there is no key dumpz (did you mean dumps?)"),
    ("layout = 3", 3, 'layout must be a text in quotes, as in layout = "table"'),
    ("settings = 3", 3, "settings must be a table"),
    ("[settings]\n# three\nk_coer = 3", 5, "there is no setting k_coer (did you mean k_core?)"),
    ('[settings]\nk_core = "5"', 4, "k_core = '5' is not possible: give a whole number without quotes"),
    ("[settings]\nk_core = true", 4, "k_core = true is not possible: give a whole number"),
    ("[settings]\nk_core = 5.0", 4, "k_core = 5.0 is not possible: give a whole number"),
    ("[settings]\nk_core = -1", 4, "K_CORE=-1 is not possible: greater than or equal to 0"),
    ("settings.k_core = -1", 3, "K_CORE=-1 is not possible: greater than or equal to 0"),
    ("[settings]\nmin_rating = nan", 4, "min_rating = nan is not possible: give a number"),
    ("[settings]\nverified_only = 1", 4, "verified_only = 1 is not possible: write verified_only = true or"),
    ('[settings]\nfrom_date = "2014-13-45"', 4, "FROM_DATE=2014-13-45 is not possible: no such day"),
    ("[settings]\nfrom_date = 2014", 4, "from_date = 2014 is not possible: give a text in quotes"),
    (
        '[settings]\nsplit = "random"',
        4,
        "choose one of leave-one-out, leave-last-k, global-temporal, temporal-folds, cold-items",
    ),
    ('[settings]\nrecipes = "quick"', 4, 'give names in brackets, as in recipes = ["tiny_softmax"]'),
    ('[settings]\nrecipes = ["tiny_sofmax"]', 4, "there is no recipe tiny_sofmax (did you mean tiny_softmax?)"),
    ('[settings]\n\naudit_model = "tiny_sofmax"', 5, "did you mean tiny_softmax?"),
]


@pytest.mark.parametrize(("text", "line", "says"), MISTAKES)
def test_a_mistake_names_file_line_and_remedy(paths: DatasetPaths, text: str, line: int, says: str) -> None:
    write(paths, f"# mine\n\n{text}\n")
    with pytest.raises(RegistrationError) as raised:
        file_settings(NAME)
    said = str(raised.value)
    assert said.startswith(f"{paths.registration}, line {line}: ")
    assert says in said
    assert "\n" not in said


def test_a_mistake_fails_the_settings_of_a_run_and_writes_nothing_down(instance, paths: DatasetPaths) -> None:
    assert materialized(instance).success
    before = kept_for(NAME)
    write(paths, "[settings]\nk_core = true\n")
    found = materialized(instance)
    failures = [event.step_failure_data for event in found.all_events if event.is_step_failure]
    assert len(failures) == len(settings_assets)
    assert all("line 2: k_core = true is not" in failure.user_failure_data.description for failure in failures)
    paths.registration.unlink()
    assert kept_for(NAME) == before


def test_both_names_of_a_setting_are_refused_where_they_differ(paths: DatasetPaths) -> None:
    write(paths, "[settings]\nleast_rating = 3\nmin_rating = 4\n")
    with pytest.raises(RegistrationError, match="give min_rating alone"):
        file_settings(NAME)
    write(paths, "[settings]\nleast_rating = 4\nmin_rating = 4.0\n")
    assert file_settings(NAME) == {"min_rating": 4.0}


# --- what is read


def possible(name: str) -> st.SearchStrategy:
    """Values of a setting that the file may hold."""
    kind = kind_of(SETTINGS[name].annotation)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from([member.value for member in kind])
    if name in ("from_date", "until_date"):
        return st.dates().map(lambda day: day.isoformat())
    if name.endswith("_from"):
        return st.integers(1, 99).map(lambda part: f"0.{part:02}")
    if name in ITEM_FILES:
        # a file that is there
        return st.sampled_from(["", __file__])
    if kind is str:
        return st.sampled_from(["", "tiny_softmax"])
    if name == "cold_items":
        return st.floats(0.01, 0.49)
    if name == "folds":
        return st.integers(2, 20)
    if name == "pretrain_on":
        # others must have been run before
        return st.just([])
    if name == "recipes":
        return st.lists(st.sampled_from(["quick", "tiny_softmax"]), unique=True)
    return {bool: st.booleans(), int: st.integers(1, 100), float: st.floats(0, 5)}[kind]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(values=st.fixed_dictionaries({}, optional={name: possible(name) for name in SETTINGS}))
def test_every_setting_is_read_as_it_is_written(paths: DatasetPaths, values: dict) -> None:
    write(paths, tomlkit.dumps({"settings": values}))
    assert file_settings(NAME) == values
    # the values of the file, and the defaults for all others
    made = run._settings(run.parse([f"--dataset={NAME}"]), file_settings(NAME)).model_dump(mode="json")
    assert {name: made[name] for name in DEFAULTS} == {**DEFAULTS, **values}


def test_days_and_quantiles_need_no_quotes(paths: DatasetPaths) -> None:
    write(paths, "[settings]\nfrom_date = 2014-07-23\nvalidation_from = 0.85\ntest_from = 2015-01-01\n")
    assert file_settings(NAME) == {"from_date": "2014-07-23", "validation_from": "0.85", "test_from": "2015-01-01"}


# --- what holds


def materialized(instance: dg.DagsterInstance, **config) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        settings_assets,
        instance=instance,
        partition_key=NAME,
        resources={"settings": Settings.configure_at_launch()},
        run_config={"resources": {"settings": {"config": config}}},
        raise_on_error=False,
    )


def test_the_file_holds_where_nothing_is_given_and_is_never_written(instance, paths: DatasetPaths) -> None:
    text = '[settings]\nk_core = 3\nrecipes = ["tiny_gsasrec"]\n'
    write(paths, text)
    # as "Materialize all" does
    assert materialized(instance).success
    kept = {name: kept_for(NAME)[name] for name in ("k_core", "recipes", "tie_order")}
    assert kept == {"k_core": 3, "recipes": ["tiny_gsasrec"], "tie_order": DEFAULTS["tie_order"]}
    assert materialized(instance, k_core=4, tie_order="file").success
    written = json.loads((paths.asset("settings") / "dataset.json").read_text())
    assert (written["k_core"], written["tie_order"]) == (4, "file")
    # for that run: the next one goes back to the file, and what the file does not say stays as written down
    assert (kept_for(NAME)["k_core"], kept_for(NAME)["tie_order"]) == (3, "file")
    assert materialized(instance).success
    assert json.loads((paths.asset("settings") / "dataset.json").read_text()) == {**written, "k_core": 3}
    assert paths.registration.read_text() == text


def test_the_log_of_a_run_says_which_values_come_from_where(
    instance, paths: DatasetPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    write(paths, "[settings]\nk_core = 3\nseed = 1\n")
    assert materialized(instance, k_core=4).success
    said = [line for line in capsys.readouterr().err.splitlines() if "from datasets/Shop.toml" in line]
    assert len(said) == 1
    assert said[0].endswith(
        "settings given: K_CORE=4 (instead of K_CORE=3 in datasets/Shop.toml); from datasets/Shop.toml: SEED=1; all "
        "others: as before"
    )


def test_options_come_before_the_file_and_the_file_before_defaults(paths: DatasetPaths) -> None:
    write(paths, '[settings]\nk_core = 3\ndevice = "auto"\nrecipes = ["tiny_gsasrec"]\n')
    chosen = run._settings(run.parse([f"--dataset={NAME}", "K_CORE=4"]), file_settings(NAME))
    assert (chosen.k_core, chosen.device, chosen.recipes, chosen.seed) == (4, "auto", ["tiny_gsasrec"], 0)
    assert chosen_for(Settings(), NAME) == ["tiny_gsasrec"]
    assert chosen_for(Settings(recipes=["tiny_softmax"]), NAME) == ["tiny_softmax"]
    # an option that is off or empty is given too
    assert run._settings(run.parse(["K_CORE=0", "RECIPES="]), {"k_core": 3, "recipes": ["full"]}).recipes == []


def test_how_a_run_computes_is_read_from_the_file_too(paths: DatasetPaths) -> None:
    write(paths, "[settings]\nthreads = 2\n")
    assert execution_of(Settings(), NAME)["threads"] == 2
    assert execution_of(Settings(threads=3), NAME)["threads"] == 3
    assert execution_of(Settings(), NAME)["device"] == DEFAULTS["device"]


def test_a_command_says_which_values_come_from_where(paths: DatasetPaths, capsys: pytest.CaptureFixture[str]) -> None:
    write(paths, '[settings]\nk_core = 3\nrecipes = ["full", "quick"]\nleast_rating = 4\n')
    run.settings_for(run.parse([f"--dataset={NAME}", "K_CORE=4", "SEED=1"]), "the defaults")
    notice, line = capsys.readouterr().out.splitlines()
    assert notice == (
        f"notice: {paths.registration}, line 4: least_rating was renamed to min_rating; use the new name, the old one "
        "will be removed"
    )
    assert line == (
        "settings given: K_CORE=4 (instead of K_CORE=3 in datasets/Shop.toml), SEED=1; from datasets/Shop.toml: "
        "RECIPES=full,quick, MIN_RATING=4; all others: the defaults"
    )
    assert origins(Settings(), NAME, "as before").startswith("from datasets/Shop.toml: K_CORE=3")
    # nothing to say of a file without settings
    write(paths, "")
    run.settings_for(run.parse([f"--dataset={NAME}", "K_CORE=4"]), "the defaults")
    assert capsys.readouterr().out == ""


def test_the_sensor_asks_again_each_time_the_file_changes(instance, paths: DatasetPaths) -> None:
    write_small_dump(paths.dumps, NAME)
    cursor, keys = None, set()
    for value in (3, 4, 5):
        write(paths, f"[settings]\nk_core = {value}\n")
        result, problems = sense(instance, GRAPH, cursor)
        assert problems == []
        keys |= {request.run_key for request in result.run_requests}
        cursor = result.cursor
        again, _ = sense(instance, GRAPH, cursor)
        assert again.run_requests == []
    assert len(keys) == 3


def test_the_sensor_names_a_mistake(instance, paths: DatasetPaths) -> None:
    write_small_dump(paths.dumps, NAME)
    write(paths, "[settings]\nk_core = true\n")
    result, problems = sense(instance, GRAPH, None)
    assert not result.run_requests
    assert problems == [
        f"{NAME}: {paths.registration}, line 2: k_core = true is not possible: give a whole number without quotes"
    ]
