"""``make compare``: what changed between two reports in data, rankings and metrics, and whether it matters.

``DATASET=name`` compares the report of a dataset with the one before it, which is kept; ``VERSIONS=a,b`` any two that
are kept, by the first digits of their digests (``make history`` lists them). ``A=folder B=folder`` compares any two; a
folder is one that a report was written to, or a dataset's folder in the lake.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.exits import EXIT_FAILED, ends_plainly

if TYPE_CHECKING:
    from ml.data.versions import Version
    from orchestration.paths import DatasetPaths


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from orchestration.options import Parser

    parser = Parser(prog="make compare", description=__doc__)
    parser.add_argument(
        "--dataset", default="Demo", help="name of the dataset whose last two reports are compared, without --a and --b"
    )
    parser.add_argument(
        "--versions", type=_two, metavar="A,B", help="two reports of the dataset by the first digits of their digests"
    )
    parser.add_argument("folders", nargs="*", type=Path, help="the two folders, in place of --a and --b")
    parser.add_argument("--a", dest="before", type=Path, help="folder of the first report")
    parser.add_argument("--b", dest="after", type=Path, help="folder of the second report")
    parser.add_argument(
        "--page", "--markdown", dest="markdown", type=Path, help="file to write the comparison to as well, as Markdown"
    )
    chosen = parser.parse_args(arguments)
    if len(chosen.folders) == 2:
        chosen.before, chosen.after = chosen.folders
    # an empty variable of make is the current folder to Path
    given = [folder for folder in (chosen.before, chosen.after) if folder not in (None, Path())]
    if len(given) == 1 or len(chosen.folders) not in (0, 2):
        parser.error(
            "name the folders of two reports: make compare A=before B=workspace/lake/Demo/evaluation/report; or "
            "neither, to compare the last two reports of a dataset: make compare DATASET=Demo"
        )
    if given and chosen.versions:
        parser.error("VERSIONS are reports of DATASET: give no folders beside it")
    if not given:
        chosen.before = chosen.after = None
    return chosen


def _two(text: str) -> tuple[str, str] | None:
    """Two beginnings of digests, separated by a comma; an empty variable of make is none."""
    if not text.strip():
        return None
    first, _, second = (part.strip() for part in text.partition(","))
    if not first or not second or "," in second:
        raise argparse.ArgumentTypeError(f"={text} is not possible: give two digests, as in VERSIONS=0f3c,91ab")
    return first, second


def chosen_two(paths: DatasetPaths, digests: tuple[str, str]) -> tuple[Version, Version]:
    """The reports of a dataset whose digests begin so.

    Raises:
        ReportError: there is none, or several.
    """
    from ml.data.versions import versions_of
    from ml.reports.compare.written_report import ReportError

    known = versions_of(paths.report.parent)
    found = []
    for digest in digests:
        matching = [version for version in known if version.digest.startswith(digest)]
        if len(matching) != 1:
            listed = ", ".join(f"{version.digest[:12]} of {_time(version)}" for version in known) or "none"
            found_so_many = "several reports" if matching else "no report"
            raise ReportError(
                f"{paths.dataset} has {found_so_many} whose digest begins with {digest}; there are: {listed}"
            )
        found.append(matching[0])
    return found[0], found[1]


def last_two(paths: DatasetPaths) -> tuple[Version, Version]:
    """The report of a dataset before the current one, and the current one.

    Raises:
        ReportError: the dataset has no report, or only one.
    """
    from ml.data.versions import versions_of
    from ml.reports.compare.written_report import ReportError

    found = versions_of(paths.report.parent)
    again = f"make run DATASET={paths.dataset}"
    if not found or not found[0].is_current:
        raise ReportError(f"{paths.dataset} has no report: {again} makes one")
    if len(found) == 1:
        raise ReportError(
            f"{paths.dataset} has only one report, made at {_time(found[0])}: {again} with other settings or other "
            "dumps makes another and keeps this one; two reports that lie elsewhere are compared by make compare "
            "A=folder B=folder"
        )
    return found[1], found[0]


def _time(version: Version) -> str:
    return f"{version.put_in_place:%Y-%m-%d %H:%M:%S} UTC"


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    """0 where both reports could be read, whatever differs between them."""
    chosen = parse(arguments)
    from ml.data.files import atomic_file
    from ml.reports.compare.comparison import compare
    from ml.reports.compare.text import to_markdown, to_text
    from ml.reports.compare.written_report import ReportError, read_report
    from orchestration.commands.console import problem, say
    from orchestration.paths import Workspace, check_dataset_name

    try:
        check_dataset_name(chosen.dataset)
    except ValueError as error:
        problem(str(error))
        return EXIT_FAILED
    try:
        if chosen.before is None:
            paths = Workspace.current().dataset(chosen.dataset)
            before, after = chosen_two(paths, chosen.versions) if chosen.versions else last_two(paths)
            say(f"{chosen.dataset}: the report of {_time(before)} before, that of {_time(after)} after")
            chosen.before, chosen.after = before.path, after.path
        found = compare(read_report(chosen.before), read_report(chosen.after))
    except ReportError as error:
        problem(str(error))
        return EXIT_FAILED
    say(to_text(found))
    if chosen.markdown:
        with atomic_file(chosen.markdown) as temporary:
            temporary.write_text(to_markdown(found), encoding="utf-8")
        say(f"written: {chosen.markdown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
