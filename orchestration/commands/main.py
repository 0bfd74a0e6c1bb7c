"""``raw2rank``: the console script. ``raw2rank run`` does what ``make run`` does, and so do the other commands.

A command is imported when it is called, so that ``raw2rank --help`` answers at once.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from contextlib import redirect_stdout, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestration.exits import EXIT_FAILED

# name: module of orchestration that has its main, and what it does
COMMANDS = {
    "run": ("run", "bring a dataset from its dumps to its leaderboard and report; a demo dump without --dataset"),
    "check-data": ("check_data", "land and clean a dataset and check its contracts, and train nothing"),
    "search": ("search", "search for better hyperparameters of one recipe"),
    "reproduce": ("reproduce", "fit what docs/reproduction.md claims, and write the table of verdicts"),
    "compare": ("compare", "compare two reports: data, rankings and metrics"),
    "history": ("history", "list the versions of a dataset that are on disk, and its leaderboards over time"),
    "clean": ("clean", "free disk: versions beyond RAW2RANK_KEEP, old runs of Dagster, and what killed processes left"),
    "publish": (
        "publish",
        "publish the checked data of a dataset for other machines, below RAW2RANK_SHARED_LAKE",
    ),
    "fetch": ("fetch", "fetch the data of a dataset that another machine has published"),
    "promote": ("promote", "put a release in charge by hand: the candidate, or one that is on disk"),
    "rollback": ("rollback", "put the release in charge that was so before the present one"),
    "serve": ("serve", "serve the release in charge of a dataset over HTTP, on 127.0.0.1"),
    "download": ("download", "fetch the public Amazon review files of one category"),
    "ui": ("ui", "start the Dagster UI on 127.0.0.1"),
}

_COMPLETION = """\
_raw2rank() {{
  local words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{commands}"
  else
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _raw2rank raw2rank"""


def main(arguments: list[str] | None = None) -> int:
    """Call a command with the rest of the arguments; its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    name, rest = (given[0], given[1:]) if given else ("--help", [])
    if name in ("-h", "--help", "help"):
        print(_help())
        return 0
    if name == "completion":
        print(_completion())
        return 0
    if name == "--version":
        print(f"raw2rank {_version()}")
        return 0
    if name not in COMMANDS:
        from ml.config import nearest

        known = ", ".join(COMMANDS)
        print(f"error: there is no command {name}{nearest(name, COMMANDS)}; there are {known}", file=sys.stderr)
        return EXIT_FAILED
    _prepare()
    return import_module(f"orchestration.commands.{COMMANDS[name][0]}").main(rest)


def _prepare() -> None:
    """The environment that the Makefile exports, and messages that name this program."""
    from orchestration.called_as import console_script
    from orchestration.paths import Workspace

    console_script()
    workspace = Workspace.current()
    # subprocesses may have another working directory
    os.environ["RAW2RANK_HOME"] = str(workspace.home)
    os.environ["DAGSTER_HOME"] = str(workspace.dagster_home)
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    logging.captureWarnings(True)
    warnings.simplefilter("default")


def _help() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: raw2rank <command> [--option=value ...]",
            "",
            "From a raw review dump to ranked recommendations and a report.",
            "",
            "commands:",
            *(f"  {name:<{width}}  {does}" for name, (_, does) in COMMANDS.items()),
            "",
            "raw2rank <command> --help lists the options of a command with their defaults. Options may also be written",
            "as make takes them: DATASET=Beauty is --dataset=Beauty. Everything is kept in one folder, the workspace:",
            "$RAW2RANK_HOME, or workspace/.",
            "",
            "raw2rank completion prints a script that completes commands and options in bash.",
        ]
    )


def _completion() -> str:
    """A script of bash that completes commands and options, and files; zsh can read it too, after bashcompinit."""
    from orchestration.options import LIST_OPTIONS

    cases = []
    for name, (module, _) in COMMANDS.items():
        listed = io.StringIO()
        with redirect_stdout(listed), suppress(SystemExit):
            import_module(f"orchestration.commands.{module}").main([LIST_OPTIONS])
        cases.append(f'    {name}) words="{" ".join(listed.getvalue().split())}" ;;')
    return _COMPLETION.format(commands=" ".join(COMMANDS), cases="\n".join(cases))


def _version() -> str:
    try:
        return version("raw2rank")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
