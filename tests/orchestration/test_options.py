"""Options are understood or refused, never dropped, from make, the console and the launchpad alike."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.execution.retries import RetryMode
from hypothesis import given
from hypothesis import strategies as st

from ml.data.setting_names import RENAMED, by_first_name, by_new_name
from orchestration.assets.settings import settings_assets as assets
from orchestration.commands import compare, download, reproduce, run, search, serve
from orchestration.dataset_settings import (
    SLICES,
    check_settings,
    chosen,
    chosen_for,
    kept_for,
    made_of,
    read_settings,
    version_of,
)
from orchestration.definitions import defs
from orchestration.execution.executor import OneRunADataset
from orchestration.options import OFF, ON, number, switch, whole_number
from orchestration.pages.options import PAGE, page
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import digest_of
from orchestration.resources import DEFAULTS, Settings, resolved

REPOSITORY = Path(__file__).parents[2]
JOB = defs.resolve_job_def("everything")
make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@given(st.sampled_from([*ON, *OFF]), st.randoms())
def test_switches_are_understood_in_any_case(word: str, random) -> None:
    text = "".join(random.choice([letter.lower(), letter.upper()]) for letter in word)
    assert switch(text) is (word in ON)


@given(st.text())
def test_any_other_word_is_refused(text: str) -> None:
    if text.strip().lower() not in {*ON, *OFF}:
        with pytest.raises(ValueError, match="say 1, true, yes, on or 0, false, no, off"):
            switch(text)


@given(st.integers(-(10**17), 10**17))
def test_whole_numbers_are_read_as_they_are_written(value: int) -> None:
    assert whole_number(str(value)) == value
    assert number(f"{value}.0") == float(value)


@pytest.mark.parametrize("text", ["", " ", "1_000", "1,000", "1 000", "abc", "5.0", "٥", "0x5"])
def test_other_spellings_of_whole_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        whole_number(text)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e999", "3,5", "1_0.5"])
def test_numbers_are_finite_and_plain(text: str) -> None:
    with pytest.raises(ValueError, match="plain digits"):
        number(text)


@pytest.mark.parametrize("name", [name for name, value in DEFAULTS.items() if isinstance(value, bool)])
@pytest.mark.parametrize(("text", "value"), [("True", True), ("on", True), ("1", True), ("FALSE", False), ("0", False)])
def test_every_switch_of_the_settings_takes_every_word(name: str, text: str, value: bool) -> None:
    assert getattr(run.parse([f"--{name.upper()}={text}"]), name) is value


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--exclude-seen=ja", "EXCLUDE_SEEN=ja is not possible: say 1, true"),
        ("--wait=never", "WAIT=never is not possible"),
        ("--k-core=", "K_CORE= is not possible: give a whole number"),
        ("--seed=abc", "SEED=abc is not possible"),
        (
            "--split=random",
            "SPLIT=random is not possible: choose one of leave-one-out, leave-last-k, global-temporal, temporal-folds, "
            "cold-items",
        ),
        ("--tie-order=hsah", r"did you mean hash\?"),
        ("--device=", "DEVICE= is not possible: choose one of cpu"),
        ("--datase=Beauty", r"no option DATASE \(did you mean DATASET\?\)"),
        ("--trials=3", "there is no option TRIALS"),
        ("blank", "'blank' belongs to no option"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(option: str, says: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        run.parse([option])
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert re.search(says, told), told


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--k-core=-1", "K_CORE=-1 is not possible: greater than or equal to 0"),
        ("--from-date=2014", "FROM_DATE=2014 is not possible: give a day"),
        ("--until-date=2014-13-45", "UNTIL_DATE=2014-13-45 is not possible: no such day"),
        ("--last-items=0", "LAST_ITEMS=0 is not possible: greater than or equal to 1"),
        ("--test-from=2", "TEST_FROM=2 is not possible: give .8 or a day"),
        ("--recipes=tiny_sofmax", r"no recipe tiny_sofmax \(did you mean tiny_softmax\?\)"),
        ("--audit-model=tiny_sofmax", r"did you mean tiny_softmax\?"),
    ],
)
def test_values_out_of_range_are_refused_with_what_is_possible(option: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        run._settings(run.parse([option]))


@pytest.mark.parametrize("given", [["--k-core=5", "--k-core", "6"], ["K_CORE=5", "--K_CORE=5"]])
def test_an_option_that_is_given_twice_is_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.parse(given)
    assert capsys.readouterr().err == "error: K_CORE is given 2 times; give it once\n"


def test_waiting_has_two_spellings() -> None:
    for parse, others in ((run.parse, []), (search.parse, ["--recipe=x"])):
        assert parse([*others, "--wait=False"]).no_wait
        assert parse([*others, "--no-wait"]).no_wait
        assert not parse([*others, "--wait=on"]).no_wait
        assert not parse(others).no_wait


def test_switches_of_downloads() -> None:
    chosen_ = download.parse(["--dataset=Beauty", "--all=YES", "--no-metadata=on"])
    assert (chosen_.core, chosen_.no_metadata) == (False, True)
    chosen_ = download.parse(["--dataset=Beauty", "--all=0", "--no-metadata=off"])
    assert (chosen_.core, chosen_.no_metadata) == (None, False)


@pytest.mark.parametrize("given", [["--a=before"], ["--b=after"], ["one"], ["--a=", "--b=after"]])
def test_compare_with_one_report_names_what_is_missing(given, capsys) -> None:
    with pytest.raises(SystemExit):
        compare.parse(given)
    assert "name the folders of two reports: make compare A=" in capsys.readouterr().err


def made(*arguments: str) -> str:
    ran = subprocess.run(
        ["make", "-n", "-o", ".venv/.installed", *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@make
def test_make_passes_on_whatever_it_is_given() -> None:
    told = made("run", "EXCLUDE_SEEN=True", "VERIFIED_ONLY=0", "K_CORE=", "DATASE=Beauty", "WAIT=False")
    for option in (
        "--exclude-seen='True'",
        "--verified-only='0'",
        "--k-core=''",
        "--datase='Beauty'",
        "--wait='False'",
    ):
        assert option in told


@make
@pytest.mark.parametrize("value", ["two words", "it's", "a#b", "a$b", "a$(b)", 'say "x"', "a,b;c&d"])
def test_values_survive_make(value: str) -> None:
    line = next(line for line in made("check-data", f"DUMPS={value}").splitlines() if "check_data" in line)
    assert f"--dumps={value}" in shlex.split(line)


@pytest.mark.parametrize(
    ("parse", "given"),
    [
        (run.parse, ["--dumps="]),
        (run.parse, ["--source="]),
        (download.parse, ["--dataset=x", "--into="]),
        (search.parse, ["--recipe=x", "--space="]),
        (reproduce.parse, ["--data="]),
        (serve.parse, ["--bundle="]),
        # every address of the machine, to the system
        (serve.parse, ["--host="]),
    ],
)
def test_an_empty_path_or_address_is_no_choice(parse, given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(given)
    name = given[-1].strip("-=").upper()
    assert f"error: {name}= is not possible: give a value, or leave the option out" in capsys.readouterr().err


@make
def test_make_runs_nothing_that_a_value_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    reason = f"why $(shell touch {ran})"
    subprocess.run(
        ["make", "-s", "help", f"REASON={reason}"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert not ran.exists()
    monkeypatch.setenv("REASON", reason)
    assert f"--reason={reason}" in shlex.split(made("promote"))
    assert not ran.exists()


@make
def test_make_hands_variables_of_other_programs_on() -> None:
    shown = "--eval=show:; @echo $$PIP_INDEX_URL $${DATASET-none} $$GX_ANALYTICS_ENABLED"
    given = ["PIP_INDEX_URL=https://packages.example.org", "DATASET=Beauty"]
    ran = subprocess.run(["make", "-s", shown, "show", *given], cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.stdout.split() == ["https://packages.example.org", "none", "false"]


@make
def test_an_address_to_serve_on_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    # as the compilers of conda set it, and as some systems do to the name of the machine
    monkeypatch.setenv("HOST", "x86_64-conda-linux-gnu")
    monkeypatch.setenv("PORT", "8001")
    options = shlex.split(made("serve"))
    assert "--port=8001" in options
    assert not any(option.startswith("--host") for option in options)
    assert "--host=::1" in shlex.split(made("serve", "HOST=::1"))


@make
def test_a_token_of_something_else_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret-of-something-else")
    assert "secret" not in made("ui")
    assert "--token=no" in shlex.split(made("ui", "TOKEN=no"))


@make
def test_make_knows_every_setting_and_help_names_it() -> None:
    told = subprocess.run(["make", "-s", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert {name.upper() for name in DEFAULTS} <= set(told.split())
    assert "make lint" in told


@make
def test_make_passes_on_old_names_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for old in RENAMED:
        monkeypatch.setenv(old.upper(), "3")
        assert re.search(rf"^OLD_NAMES := .*\b{old.upper()}\b", makefile, re.MULTILINE)
    for command in ("run", "check-data"):
        assert {f"--{old.replace('_', '-')}=3" for old in RENAMED} <= set(shlex.split(made(command)))
    assert "--least-rating" not in made("search", "RECIPE=x")


# --- names that settings had before


@pytest.mark.parametrize("option", ["LEAST_RATING=4", "--least-rating=4", "--LEAST_RATING=4"])
def test_an_old_name_is_understood_with_a_notice(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.parse([option]).min_rating == 4
    assert capsys.readouterr().err == (
        "notice: LEAST_RATING was renamed to MIN_RATING; use the new name, the old one will be removed\n"
    )


def test_an_old_name_with_its_value_in_the_next_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.parse(["--minimum-history", "3"]).min_history == 3
    assert capsys.readouterr().err.startswith("notice: MINIMUM_HISTORY was renamed to MIN_HISTORY; ")


def test_both_names_of_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.parse(["MIN_RATING=4", "LEAST_RATING=4"]).min_rating == 4
    assert capsys.readouterr().err.count("\n") == 1
    for given_ in (["LEAST_RATING=3", "MIN_RATING=4"], ["--min-rating=4", "--least-rating", "3"]):
        with pytest.raises(SystemExit) as ended:
            run.parse(given_)
        assert ended.value.code == 1
        assert capsys.readouterr().err.endswith(
            "error: LEAST_RATING=3 and MIN_RATING=4 are the same option: give MIN_RATING alone\n"
        )


def test_old_names_are_not_offered(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["--list-options"]):
        with pytest.raises(SystemExit):
            run.parse(arguments)
        told = capsys.readouterr().out
        assert "--min-rating" in told
        assert not [old for old in RENAMED if old.replace("_", "-") in told]


def test_old_fields_are_those_of_the_new_names() -> None:
    fields = Settings.model_fields
    assert {old: fields[old].annotation for old in RENAMED} == {
        old: fields[new].annotation for old, new in RENAMED.items()
    }


SOME_SETTINGS = st.dictionaries(st.sampled_from([*DEFAULTS, *RENAMED.values()]), st.integers())


@given(SOME_SETTINGS)
def test_names_go_there_and_back(values: dict) -> None:
    assert by_new_name(by_first_name(values)) == values
    assert by_new_name(values) == values
    assert not by_new_name(by_first_name(values)).keys() & RENAMED.keys()


def test_a_renamed_setting_makes_nothing_stale() -> None:
    """The data version is the digest of the names that existing workspaces have written down."""
    before = {
        **{"k_core": 5, "k_core_users": -1, "k_core_items": -1, "from_date": "", "until_date": ""},
        **{"verified_only": False, "least_rating": 0.0, "first_interaction_only": False, "minimum_history": 0},
        **{"tie_order": "hash", "split": "leave-one-out", "validation_from": "0.8", "test_from": "0.9"},
        **{"validation_users": 512, "seed": 0},
    }
    values = chosen(Settings(), "dataset")
    assert values == {**by_new_name(before), "cold_items": 0.1, "last_items": 5}
    assert version_of(values) == digest_of(before)[:32]
    assert version_of({**values, "cold_items": 0.2}) != version_of(values)
    assert version_of({**values, "last_items": 3}) != version_of(values)


def test_a_warm_start_is_another_fit_and_no_warm_start_is_what_it_was() -> None:
    values = chosen(Settings(), "fit")
    assert values == {"fit_on": "train", "warm_start": "off"}
    assert version_of(values) == digest_of({"fit_on": "train"})[:32]
    assert version_of(chosen(Settings(warm_start="champion"), "fit")) != version_of(values)


def test_settings_written_before_a_setting_came_have_its_default(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    folder = Workspace.current().dataset("Old").asset("settings")
    folder.mkdir(parents=True)
    (folder / "fit.json").write_text('{"fit_on": "train+validation"}')
    kept = kept_for("Old")
    assert chosen(Settings(), "fit", kept) == {"fit_on": "train+validation", "warm_start": "off"}


def test_variables_of_dbt_are_the_settings_of_the_dataset_with_their_defaults() -> None:
    variables = yaml.safe_load((REPOSITORY / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    # decides how the k-core is computed, and not what it is
    del variables["k_core_rows_in_memory"]
    assert variables == {name: DEFAULTS[name] for name in SLICES["dataset"][1]}


# --- the launchpad


@pytest.mark.parametrize(
    "name", ["tie_order", "split", "fit_on", "training_process", "device", "precision", "sharding"]
)
def test_a_choice_that_does_not_exist_is_refused_before_launch(name: str) -> None:
    def config(value: str) -> dict:
        return {"resources": {"settings": {"config": {name: value}}}}

    assert dg.validate_run_config(JOB, config(DEFAULTS[name]))
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(JOB, config("foo"))


def test_the_launchpad_shows_the_settings_without_values_of_its_own() -> None:
    assert {*DEFAULTS, *RENAMED} == set(Settings.model_fields)
    assert all(value is None for value in Settings().model_dump().values())
    assert resolved(Settings()) == DEFAULTS
    assert dg.validate_run_config(JOB, {})


def test_everything_can_be_materialised_without_configuring_the_search() -> None:
    assert dg.validate_run_config(defs.resolve_job_def("search"), {})


@pytest.fixture
def instance(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(datasets.name, ["Shop"])
        yield instance


def write_down(instance: dg.DagsterInstance, **config) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        assets,
        instance=instance,
        partition_key="Shop",
        resources={"settings": Settings.configure_at_launch()},
        run_config={"resources": {"settings": {"config": config}}},
        raise_on_error=False,
    )


def test_what_is_not_set_in_the_launchpad_stays(instance) -> None:
    assert write_down(instance).success
    assert kept_for("Shop")["k_core"] == DEFAULTS["k_core"]
    assert write_down(instance, k_core=3, tie_order="file", recipes=["tiny_gsasrec"], exclude_seen=True).success
    before = kept_for("Shop")
    assert (before["k_core"], before["tie_order"], before["recipes"]) == (3, "file", ["tiny_gsasrec"])
    assert chosen_for(Settings(), "Shop") == ["tiny_gsasrec"]
    # as "Materialize all" does
    assert write_down(instance).success
    assert kept_for("Shop") == before
    assert write_down(instance, exclude_seen=False).success
    assert kept_for("Shop") == {**before, "exclude_seen": False}


def test_an_old_name_in_the_launchpad_is_understood_with_a_notice(instance, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"resources": {"settings": {"config": {"least_rating": 4.0}}}}
    assert dg.validate_run_config(JOB, config)
    assert write_down(instance, least_rating=4.0, minimum_history=2).success
    assert (kept_for("Shop")["min_rating"], kept_for("Shop")["min_history"]) == (4.0, 2)
    told = capsys.readouterr().err
    assert told.count("was renamed to") == 2
    assert "least_rating was renamed to min_rating" in told


def test_both_names_in_the_launchpad_are_refused_where_they_differ(instance) -> None:
    assert write_down(instance, least_rating=4.0, min_rating=4.0).success
    assert not write_down(instance, least_rating=4.0, min_rating=3.0).success
    with pytest.raises(ValueError, match="are the same setting: give min_rating alone"):
        made_of({"least_rating": 4.0, "min_rating": 3.0})
    assert kept_for("Shop")["min_rating"] == 4.0


def test_settings_written_down_under_old_names_are_read(instance) -> None:
    assert write_down(instance, min_rating=4.0).success
    path = Workspace.current().dataset("Shop").asset("settings") / "dataset.json"
    before = kept_for("Shop")
    path.write_text(json.dumps(by_first_name(json.loads(path.read_text()))))
    assert "min_rating" not in path.read_text()
    assert kept_for("Shop") == before
    assert read_settings("dataset", "Shop")["min_rating"] == 4.0


@pytest.mark.parametrize("config", [{"recipes": ["tiny_sofmax"]}, {"audit_model": "tiny_sofmax"}])
def test_a_misspelt_recipe_writes_nothing_down(instance, config: dict) -> None:
    found = write_down(instance, **config)
    assert not found.success
    failures = [event.step_failure_data for event in found.all_events if event.is_step_failure]
    # every slice of the settings, so that nothing below any of them is made
    assert len(failures) == len(SLICES)
    assert all("did you mean tiny_softmax?" in failure.user_failure_data.description for failure in failures)
    assert kept_for("Shop") == {}


def test_no_recipe_is_one_thing() -> None:
    """Nothing given keeps what was chosen; an empty choice stands for the quick ones and is written down as these."""
    kept = {"recipes": ["tiny_gsasrec"]}
    assert chosen(Settings(), "comparison", kept) == kept
    assert chosen(Settings(recipes=[]), "comparison", kept)["recipes"] == chosen(Settings(), "comparison")["recipes"]
    assert chosen(Settings(), "comparison")["recipes"]
    check_settings(Settings())


def test_a_run_without_a_dataset_says_so_once() -> None:
    class Context:
        dagster_run = dg.DagsterRun(job_name="everything")

    with pytest.raises(dg.Failure) as refused:
        next(iter(OneRunADataset(retries=RetryMode.DISABLED).execute(Context(), None)))
    assert "no dataset was chosen" in refused.value.description


def test_nothing_is_registered_where_no_files_lie(instance, tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "Shop.json").write_text("{}\n")
    paths = Workspace.current().dataset("nope")
    with pytest.raises(run.NoSuchDataset, match=r"there is no folder .*nope.*Known datasets: Demo, Shop"):
        run.register(instance, paths, run.parse(["--dataset=nope"]))
    assert not paths.registration.exists()
    assert not instance.has_dynamic_partition(datasets.name, "nope")


def test_nothing_asks_for_a_pool_that_nobody_limits() -> None:
    assert {node.op.pool for node in JOB.graph.nodes if hasattr(node, "op")} <= {None}
    assert all(not op.pools for op in (node.definition for node in JOB.graph.nodes) if isinstance(op, dg.OpDefinition))


def test_the_page_of_options_is_up_to_date() -> None:
    assert (REPOSITORY / PAGE).read_text() == page(), "run python -m orchestration.pages.options"


def test_searches_take_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    assert search.parse(["--recipe=x", "THREADS=2"]).threads == 2
    # as in the file of the dataset, else the default
    assert search.parse(["--recipe=x"]).threads is None
    assert search.main(["--recipe=tiny_softmax", "--threads=0"]) == 1
    assert "THREADS must be at least 1, not 0" in capsys.readouterr().err
