"""``make history``: the versions of a dataset that are on disk, and its leaderboards over time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from orchestration.exits import EXIT_FAILED, ends_plainly

if TYPE_CHECKING:
    from orchestration.versions import Leaderboard, Stored


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from orchestration.options import Parser

    parser = Parser(prog="make history", description=__doc__)
    parser.add_argument("--dataset", default="Demo", help="name of the dataset")
    parser.add_argument("named", nargs="?", metavar="DATASET", help="the same without --dataset")
    chosen = parser.parse_args(arguments)
    chosen.dataset = chosen.named or chosen.dataset
    return chosen


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    """0 where everything could be read."""
    chosen = parse(arguments)
    from ml.data.files import DamagedFile
    from orchestration.commands.console import problem, say
    from orchestration.paths import Workspace, check_dataset_name
    from orchestration.versions import history, leaderboards

    try:
        check_dataset_name(chosen.dataset)
        paths = Workspace.current().dataset(chosen.dataset)
        stored, boards = history(paths), leaderboards(paths)
    except (ValueError, DamagedFile) as error:
        problem(str(error))
        return EXIT_FAILED
    if not stored:
        problem(f"{chosen.dataset} has no versions yet: make run DATASET={chosen.dataset} makes the first")
        return EXIT_FAILED
    say(versions_text(stored))
    if boards:
        say(f"\nleaderboards, the latest first\n{leaderboards_text(boards)}")
    return 0


def versions_text(stored: Iterable[Stored]) -> str:
    """A table of versions."""
    from ml.number_format import size

    rows, last = [("asset", "digest", "made (UTC)", "size", "")], ""
    for one in stored:
        notes = [*(["current"] if one.is_current else []), *(f"pinned by {holder}" for holder in one.pinned_by)]
        shown = "" if one.asset == last else one.asset
        rows.append((shown, one.digest[:12], f"{one.put_in_place:%Y-%m-%d %H:%M}", size(one.bytes), ", ".join(notes)))
        last = one.asset
    return _aligned(rows)


def leaderboards_text(boards: Iterable[Leaderboard]) -> str:
    """A table of leaderboards."""
    from ml.number_format import count, metric_value

    rows = [("digest", "made (UTC)", "best", "nDCG@10", "of", "test users", "training set", "run", "code", "")]
    for one in boards:
        notes = ["current"] if one.is_current else []
        notes += [f"trained from {one.started_from[:12]}"] if one.started_from else []
        rows.append(
            (
                one.digest[:12],
                f"{one.put_in_place:%Y-%m-%d %H:%M}",
                one.best,
                metric_value(one.ndcg),
                str(one.recommenders),
                count(one.users),
                one.training_set,
                one.run[:8],
                one.code,
                ", ".join(notes),
            )
        )
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
