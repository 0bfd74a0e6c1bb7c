"""``make publish``: the checked data of a dataset for other machines, below the URL in ``RAW2RANK_SHARED_LAKE``.

Published are the landing, the staged tables and the marts, as a state that becomes visible as a whole; ``make run`` and
``make check-data`` publish what they have made, where the variable is set.
"""

from __future__ import annotations

import argparse
import sys

from orchestration.exits import EXIT_FAILED, ends_plainly


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from orchestration.options import Parser

    parser = Parser(prog="make publish", description=__doc__)
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
    from orchestration.shared_lake import publish, required_lake_of

    workspace = Workspace.current()
    try:
        paths = workspace.dataset(chosen.dataset)
        required_lake_of(chosen.dataset)
        with working_on(workspace, paths, "make publish", wait=not chosen.no_wait) as instance:
            say(publish(instance, paths))
    except (ValueError, DatasetBusy) as error:
        problem(str(error))
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
