"""``make fetch``: the data of a dataset that another machine has published below the URL in ``RAW2RANK_SHARED_LAKE``.

It takes the place of what there is of it in the workspace, and counts as up to date: the next ``make run`` goes on
from there.
"""

from __future__ import annotations

import argparse
import sys

from orchestration.exits import EXIT_FAILED, ends_plainly


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from orchestration.options import Parser

    parser = Parser(prog="make fetch", description=__doc__)
    parser.add_argument("--dataset", default="Demo", help="name of the dataset")
    parser.add_waiting()
    return parser.parse_args(arguments)


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    from orchestration import definitions  # noqa: F401 - the asset graph
    from orchestration.commands.console import problem, say
    from orchestration.commands.run import working_on
    from orchestration.dataset_lock import DatasetBusy
    from orchestration.paths import Workspace
    from orchestration.shared_lake import fetch, required_lake_of

    workspace = Workspace.current()
    try:
        paths = workspace.dataset(chosen.dataset)
        required_lake_of(chosen.dataset)
        with working_on(workspace, paths, "make fetch", wait=not chosen.no_wait) as instance:
            say(fetch(instance, paths))
    except (ValueError, DatasetBusy) as error:
        problem(str(error))
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
