"""What ``make publish`` and ``make fetch`` share: a dataset, its lock, and a lake below ``RAW2RANK_SHARED_LAKE``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestration.exits import EXIT_FAILED

if TYPE_CHECKING:
    import dagster as dg

    from orchestration.paths import DatasetPaths


def share(
    arguments: list[str] | None,
    command: str,
    description: str | None,
    act: Callable[[], Callable[[dg.DagsterInstance, DatasetPaths], str]],
) -> int:
    """Do something with the data of a dataset in the shared lake, and say what was done; the exit code.

    Args:
        arguments: of the command line.
        command: as the user gives it, ``make publish``.
        description: for ``--help``.
        act: imports what is done with the dataset, once the arguments are known to be right; it returns the sentence.
    """
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
    from orchestration.shared_lake import required_lake_of

    workspace = Workspace.current()
    try:
        paths = workspace.dataset(chosen.dataset)
        required_lake_of(chosen.dataset)
        with working_on(workspace, paths, command, wait=not chosen.no_wait) as instance:
            say(act()(instance, paths))
    except (ValueError, DatasetBusy) as error:
        problem(str(error))
        return EXIT_FAILED
    return 0
