"""What ``make publish`` and ``make fetch`` share: a dataset, its lock, and a lake below ``RAW2RANK_SHARED_LAKE``."""

from __future__ import annotations

from typing import Literal

from orchestration.exits import EXIT_FAILED


def share(arguments: list[str] | None, verb: Literal["publish", "fetch"], description: str | None) -> int:
    """Publish or fetch the data of a dataset, and say what was done; the exit code.

    Args:
        arguments: of the command line.
        verb: a function of :mod:`orchestration.shared_lake`.
        description: for ``--help``.
    """
    command = f"make {verb}"
    from orchestration.options import Parser

    parser = Parser(prog=command, description=description)
    parser.add_argument("--dataset", default="Demo", help="name of the dataset")
    parser.add_waiting()
    chosen = parser.parse_args(arguments)

    from orchestration import definitions  # noqa: F401 - the asset graph
    from orchestration.commands.console import problem, say
    from orchestration.commands.run import working_on
    from orchestration.dataset_lock import DatasetBusy
    from orchestration.paths import Workspace
    from orchestration.shared_lake import fetch, publish, required_lake_of

    workspace = Workspace.current()
    try:
        paths = workspace.dataset(chosen.dataset)
        required_lake_of(chosen.dataset)
        with working_on(workspace, paths, command, wait=not chosen.no_wait) as instance:
            say({"publish": publish, "fetch": fetch}[verb](instance, paths))
    except (ValueError, DatasetBusy) as error:
        problem(str(error))
        return EXIT_FAILED
    return 0
