"""The console script ``raw2rank``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from orchestration import called_as
from orchestration.commands import main as command
from orchestration.commands import run
from orchestration.commands.console import problem, say
from orchestration.options import Parser
from orchestration.paths import Workspace
from orchestration.resources import DEFAULTS

REPOSITORY = Path(__file__).parents[2]
BASH = shutil.which("bash")


@pytest.fixture
def script(monkeypatch, tmp_path) -> None:
    """The environment that the console script changes, put back afterwards."""
    monkeypatch.setattr(called_as, "_by_console_script", False)
    for name in ("DAGSTER_HOME", "GX_ANALYTICS_ENABLED", "HF_HUB_OFFLINE", "PATH"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setattr(command.logging, "captureWarnings", lambda *_: None)
    monkeypatch.setattr(command.warnings, "simplefilter", lambda *_, **__: None)


def test_it_is_installed_with_the_package() -> None:
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"raw2rank": f"{command.__name__}:{command.main.__name__}"}


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_has_help_that_names_it(name: str, script, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([name, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: raw2rank {name} ")
    assert "make " not in told.replace("makes", "")
    assert "``" not in told


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_the_commands(arguments: list[str], capsys) -> None:
    assert command.main(arguments) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in command.COMMANDS)


def test_help_and_version_import_no_dagster() -> None:
    code = (
        "import sys; from orchestration.commands.main import main;"
        "assert main(['--help']) == 0 and main(['--version']) == 0;"
        "assert not {'dagster', 'numpy', 'ml.data'} & set(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1].startswith("raw2rank ")


@pytest.mark.parametrize(("name", "meant"), [("serach", "search"), ("Run", "run"), ("check_data", "check-data")])
def test_a_command_that_does_not_exist_is_refused_with_the_nearest(name: str, meant: str, capsys) -> None:
    assert command.main([name]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: there is no command {name} (did you mean {meant}?); there are run, check-data")
    assert told.count("\n") == 1


def test_help_lists_every_setting_once_in_its_group_with_its_default(capsys) -> None:
    with pytest.raises(SystemExit):
        run.parse(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    titles = ("dataset and files:", "cleaning:", "order and split:", "recommenders and evaluation:")
    places = [told.index(title) for title in titles]
    assert places == sorted(places)
    for name in DEFAULTS:
        assert told.count(f" --{name.replace('_', '-')} ") == 1, name
    assert told.index("--min-history") < places[2] < told.index("--tie-order") < places[3] < told.index("--recipes")
    assert "falls below; 0 switches the filter off. (default: 5)" in told
    assert "(default: Demo)" in told
    assert "(default: off)" in told


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_bash_completes_commands_and_options(script, capsys, tmp_path) -> None:
    assert command.main(["completion"]) == 0
    (tmp_path / "completion.bash").write_text(capsys.readouterr().out)

    def completed(*words: str) -> list[str]:
        typed = " ".join(f"'{word}'" for word in words)
        asked = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _raw2rank; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        ran = subprocess.run(
            [BASH, "-c", f". {tmp_path}/completion.bash; {asked}"], capture_output=True, text=True, check=True
        )
        return ran.stdout.split()

    assert completed("raw2rank", "") == list(command.COMMANDS)
    assert completed("raw2rank", "re") == ["reproduce"]
    assert completed("raw2rank", "run", "--k-core") == ["--k-core", "--k-core-items", "--k-core-users"]
    assert completed("raw2rank", "check-data", "--acc") == ["--accept"]
    assert completed("raw2rank", "compare", "--m") == ["--markdown"]
    assert completed("raw2rank", "nothing", "--") == []


def test_options_may_be_written_as_make_takes_them() -> None:
    chosen = run.parse(["DATASET=Beauty", "DUMPS=/data/a=b", "K_CORE=3", "--EXCLUDE_SEEN=yes"])
    assert (chosen.dataset, str(chosen.dumps), chosen.k_core, chosen.exclude_seen) == ("Beauty", "/data/a=b", 3, True)


def test_messages_name_the_command_that_was_called(script, capsys) -> None:
    message = "make run DATASET=x first, then make check-data; make it writable"
    say(message)
    called_as.console_script()
    say(message)
    problem(message)
    with pytest.raises(SystemExit):
        Parser(prog="make search").parse_args(["--foo=1"])
    told = capsys.readouterr()
    ours = "raw2rank run DATASET=x first, then raw2rank check-data; make it writable"
    assert told.out.splitlines() == [message, ours]
    assert told.err.splitlines()[0] == f"error: {ours}"
    assert "raw2rank search knows" in told.err


def test_the_environment_is_that_of_the_makefile(script, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("GX_ANALYTICS_ENABLED")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAW2RANK_HOME", "here")
    seen: dict[str, str] = {}

    def main(arguments: list[str]) -> int:
        seen.update(command.os.environ, arguments=" ".join(arguments))
        return 7

    monkeypatch.setattr(run, "main", main)
    assert command.main(["run", "--dataset=x", "--k-core=3"]) == 7
    assert seen["arguments"] == "--dataset=x --k-core=3"
    assert seen["RAW2RANK_HOME"] == str(tmp_path / "here")
    assert seen["DAGSTER_HOME"] == str(tmp_path / "here" / "dagster")
    assert (seen["GX_ANALYTICS_ENABLED"], seen["HF_HUB_OFFLINE"]) == ("false", "1")
    assert seen["PATH"].split(":")[0] == str(Path(sys.executable).parent)


def test_an_installed_package_keeps_everything_in_the_current_folder(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("RAW2RANK_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert Workspace.current().home == REPOSITORY / "workspace"
    monkeypatch.setattr("orchestration.paths.IS_CHECKOUT", False)
    assert Workspace.current().home == tmp_path / "workspace"
