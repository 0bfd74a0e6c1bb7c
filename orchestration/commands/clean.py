"""``make clean-versions``: free disk in the workspace, and say how much.

Removes the versions of assets beyond ``RAW2RANK_KEEP`` (3), what killed processes left, and what Dagster remembers of
runs beyond the last ``RAW2RANK_KEEP_RUNS`` (200) of each dataset. The current version of an asset stays, and so does
what the champion and the champions before it were made of, and all that the UI and the next run read of the past. Waits
for a run on the dataset to end. The job ``clean`` in the UI does the same.
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
    from orchestration.cleaning import clean_dataset, datasets_to_clean, in_total
    from orchestration.commands.console import problem, say
    from orchestration.commands.run import working_on
    from orchestration.dataset_lock import DatasetBusy
    from orchestration.paths import Workspace

    workspace = Workspace.current()
    total = 0
    try:
        for dataset in datasets_to_clean(workspace, chosen.dataset):
            paths = workspace.dataset(dataset)
            # nothing is removed beside a run; looking needs no lock
            held = working_on(workspace, paths, "make clean-versions", wait=not chosen.no_wait)
            with nullcontext() if chosen.dry_run else held:
                total += clean_dataset(paths, chosen.dry_run, say)
        if workspace.dagster_home.is_dir():
            total += _forget(workspace, chosen.dataset, chosen.dry_run)
    except (ValueError, DatasetBusy) as error:
        problem(str(error))
        return EXIT_FAILED
    say(in_total(total, chosen.dry_run))
    return 0


def _forget(workspace, dataset: str, dry_run: bool) -> int:
    """Forget old runs, say how many, and return the bytes that this frees."""
    from orchestration.cleaning import forget_runs
    from orchestration.commands.console import quiet, say
    from orchestration.definitions import defs
    from orchestration.execution.dagster_sqlite import open_instance

    quiet()
    with open_instance(workspace.dagster_home) as instance:
        return forget_runs(instance, defs.resolve_asset_graph(), dataset, dry_run, say).bytes


if __name__ == "__main__":
    sys.exit(main())
