"""``make download``: fetch the public Amazon review files of one category, reviews and metadata."""

from __future__ import annotations

import argparse
import os
import sys

from orchestration.called_as import as_called
from orchestration.exits import EXIT_FAILED, ends_plainly

BASE_URL_VARIABLE = "RAW2RANK_DOWNLOAD_URL"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from ml.data.download import RELEASES
    from orchestration.options import Parser, as_type, path, switch

    parser = Parser(prog="make download", description=__doc__)
    parser.add_argument("--dataset", required=True, help="the category, e.g. Industrial_and_Scientific")
    parser.add_argument("--release", choices=sorted(RELEASES), default="2018", help="release of the dumps, by year")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--core",
        dest="core",
        action="store_true",
        default=None,
        help="the 5-core reviews, on which most papers report; the default where the release has them (2014, 2018)",
    )
    which.add_argument(
        "--all",
        dest="core",
        nargs="?",
        const=False,
        type=as_type(lambda text: False if switch(text) else None),
        help="all reviews; the only ones of 2023",
    )
    parser.add_switch("--no-metadata", "leave the file of the items out")
    parser.add_argument(
        "--into", type=as_type(path), help="folder to fetch into; the dataset's landing folder when left out"
    )
    parser.add_argument(
        "--base-url",
        default=os.environ.get(BASE_URL_VARIABLE) or None,
        help=f"address of a mirror with the layout of the release below it; ${BASE_URL_VARIABLE} when left out",
    )
    return parser.parse_args(arguments)


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    from ml.data.download import DownloadError, Progress, byte_text, check_no_other_reviews, fetch, wanted_urls
    from orchestration.paths import Workspace

    try:
        urls = wanted_urls(chosen.dataset, chosen.release, chosen.core, not chosen.no_metadata, chosen.base_url)
        paths = Workspace.current().dataset(chosen.dataset)
        folder = (chosen.into or paths.home / "landing" / chosen.dataset).resolve()
        check_no_other_reviews(folder, chosen.dataset, _name(urls[0]))
        for url in urls:
            print(f"{url} -> {folder}", flush=True)
            fetched = fetch(url, folder / _name(url), progress=Progress())
            what = f"fetched, {byte_text(fetched.bytes)}" if fetched.received else "is there already"
            print(f"{fetched.path.name}: {what}", flush=True)
    except DownloadError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return EXIT_FAILED
    elsewhere = "" if folder == paths.dumps.resolve() else f" DUMPS={folder}"
    print(as_called(f"next: make run DATASET={chosen.dataset}{elsewhere}"), flush=True)
    return 0


def _name(url: str) -> str:
    return url.rsplit("/", 1)[-1]


if __name__ == "__main__":
    sys.exit(main())
