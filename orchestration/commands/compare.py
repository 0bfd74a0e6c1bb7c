"""``make compare A=folder B=folder``: what changed between two reports in data, rankings and metrics, and whether it
matters.

A folder is one that a report was written to, or a dataset's folder in the lake. A run writes its report over the last
one, so what is to be compared later has to be copied away first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from orchestration.exits import EXIT_FAILED, ends_plainly


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from orchestration.options import Parser

    parser = Parser(prog="make compare", description=__doc__)
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
    if None in (chosen.before, chosen.after) or Path() in (chosen.before, chosen.after):
        parser.error("name the folders of two reports: make compare A=before B=workspace/lake/Demo/evaluation/report")
    return chosen


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    """0 where both reports could be read, whatever differs between them."""
    chosen = parse(arguments)
    from ml.data.files import atomic_file
    from ml.reports.compare.comparison import compare
    from ml.reports.compare.text import to_markdown, to_text
    from ml.reports.compare.written_report import ReportError, read_report
    from orchestration.commands.console import problem, say

    try:
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
