"""Options are understood or refused, never dropped, from make, the console and the launchpad alike."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.retries import RetryMode
from hypothesis import given
from hypothesis import strategies as st

from orchestration.assets.settings import settings_assets as assets
from orchestration.commands import compare, download, run, search
from orchestration.dataset_settings import SLICES, check_settings, chosen, chosen_for, kept_for
from orchestration.definitions import defs
from orchestration.execution.executor import OneRunADataset
from orchestration.options import OFF, ON, number, switch, whole_number
from orchestration.pages.options import PAGE, page
from orchestration.partitions import datasets
from orchestration.paths import Workspace
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
        ("--split=random", "SPLIT=random is not possible: choose one of leave-one-out, global-temporal"),
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


def test_compare_without_reports_names_what_is_missing(capsys) -> None:
    with pytest.raises(SystemExit):
        compare.parse([])
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


@make
def test_make_knows_every_setting_and_help_names_it() -> None:
    told = subprocess.run(["make", "-s", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert {name.upper() for name in DEFAULTS} <= set(told.split())
    assert "make lint" in told


# --- the launchpad


@pytest.mark.parametrize("name", ["tie_order", "split", "fit_on", "training_process", "device", "precision"])
def test_a_choice_that_does_not_exist_is_refused_before_launch(name: str) -> None:
    def config(value: str) -> dict:
        return {"resources": {"settings": {"config": {name: value}}}}

    assert dg.validate_run_config(JOB, config(DEFAULTS[name]))
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(JOB, config("foo"))


def test_the_launchpad_shows_the_settings_without_values_of_its_own() -> None:
    assert set(DEFAULTS) == set(Settings.model_fields)
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
