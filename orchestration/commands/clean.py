"""``make clean-versions``: free disk in the workspace, and say how much.

Removes the versions of assets beyond ``RAW2RANK_KEEP`` (3), and what killed processes left. The current version of an
asset stays, and so does what the champion and the champions before it were made of. Waits for a run on the dataset to
end.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext

from orchestration.exits import EXIT_FAILED, ends_plainly


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from orchestration.options import Parser

    parser = Parser(prog="make clean-versions", description=__doc__)
    parser.add_argument("--dataset", default="", help="name of the dataset; all of the workspace where not given")
    parser.add_argument("named", nargs="?", metavar="DATASET", help="the same without --dataset")
    parser.add_switch("--dry-run", "say what would be removed, and remove nothing")
    parser.add_waiting()
    chosen = parser.parse_args(arguments)
    chosen.dataset = chosen.named or chosen.dataset
    return chosen


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    from ml.number_format import size
    from orchestration.commands.console import problem, say
    from orchestration.commands.run import working_on
    from orchestration.dataset_lock import DatasetBusy
    from orchestration.paths import Workspace, check_dataset_name
    from orchestration.versions import clean

    workspace = Workspace.current()
    total = 0
    try:
        if chosen.dataset:
            check_dataset_name(chosen.dataset)
            if not workspace.dataset(chosen.dataset).lake.is_dir():
                raise ValueError(f"there is no dataset {chosen.dataset} in {workspace.home}")
        for dataset in [chosen.dataset] if chosen.dataset else sorted(workspace.registered()):
            paths = workspace.dataset(dataset)
            # nothing is removed beside a run; looking needs no lock
            held = working_on(workspace, paths, "make clean-versions", wait=not chosen.no_wait)
            with nullcontext() if chosen.dry_run else held:
                for freed in clean(paths, chosen.dry_run):
                    say(f"{dataset}: {freed.what}, {size(freed.bytes)}")
                    total += freed.bytes
    except (ValueError, DatasetBusy) as error:
        problem(str(error))
        return EXIT_FAILED
    say(f"{size(total) if total else 'nothing'} {'would be freed' if chosen.dry_run else 'freed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
