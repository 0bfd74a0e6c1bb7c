"""``make reproduce``: fit what the claims of ``ml/reproduction/claims`` name, and write the table of verdicts.

Datasets are brought from their files to their splits by the same assets as any other, in a workspace of their own
(``reproduction/`` beside the others). Fits that were made before, by the same code on the same data, are not made
again, so a run that was broken off goes on where it was.
"""

from __future__ import annotations

import argparse
import fnmatch
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from orchestration.exits import ends_plainly
from orchestration.paths import IS_CHECKOUT, REPOSITORY

EXIT_MISSED = 1
PAGE = REPOSITORY / "docs" / "reproduction.md" if IS_CHECKOUT else Path("reproduction.md")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from orchestration.options import Parser, as_type, path, whole_number

    parser = Parser(prog="make reproduce", description=__doc__)
    parser.add_argument("--data", type=as_type(path), required=True, help="folder that holds the files, at any depth")
    parser.add_argument(
        "--claims",
        default="",
        help="names of claims, separated by commas, or patterns such as ml1m_*; all of the device without",
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="claims of this device are run")
    parser.add_argument(
        "--threads", type=as_type(whole_number), default=2, help="torch threads of a fit; they decide last bits"
    )
    parser.add_argument("--processes", type=as_type(whole_number), default=1, help="fits side by side")
    parser.add_argument("--page", type=as_type(path), default=PAGE, help="where the table is written")
    return parser.parse_args(arguments)


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    """0 where every claim that was run is reached, else 1."""
    chosen = parse(arguments)
    from ml.extras import require
    from orchestration.commands.console import problem
    from orchestration.paths import Workspace

    require("train", "make reproduce")
    home = Workspace.current().home / "reproduction"
    os.environ["RAW2RANK_HOME"] = str(home)
    try:
        return _reproduce(chosen, home)
    except (ValueError, FileNotFoundError) as error:
        problem(str(error))
        return EXIT_MISSED


def _reproduce(chosen: argparse.Namespace, home: Path) -> int:
    from ml.data.files import atomic_file
    from ml.recommenders.modules import modules_by_name
    from ml.reproduction.claims import load_claims, load_protocols
    from ml.reproduction.fit import Bench, fit_all, needed_fits, results_of
    from ml.reproduction.results import MISSED, judge
    from ml.reproduction.table import page
    from orchestration.code_versions import code_version
    from orchestration.commands.console import say

    claims, protocols = load_claims(), load_protocols()
    wanted = named(chosen.claims, claims) or [claim for claim in claims.values() if claim.device == chosen.device]
    code = code_version("ml.reproduction.fit", *modules_by_name())
    verdicts = {}
    for name in dict.fromkeys(claim.protocol for claim in wanted):
        protocol = protocols[name]
        bench = Bench(
            training_set=prepare(protocol, find(chosen.data, protocol.file)),
            exclude_seen=protocol.exclude_seen,
            folder=home / "results" / name,
            code=code,
            threads=chosen.threads,
            device=chosen.device,
        )
        here = [claim for claim in wanted if claim.protocol == name]
        fits = needed_fits(here)
        say(f"{protocol.title}: {len(fits)} fits for {len(here)} claims")
        fit_all(bench, fits, chosen.processes, say)
        for claim in here:
            others = {other: results_of(bench.folder, other, claim) for other in claim.above}
            verdicts[claim.name] = judge(claim, results_of(bench.folder, claim.recommender, claim), others)
            say(f"  {claim.name}: {verdicts[claim.name].sentence}")
    # claims that were not asked for are told with what is known of them, by this code or an earlier one
    for claim in claims.values():
        if claim.name not in verdicts:
            known = {
                name: results_of(home / "results" / claim.protocol, name, claim)
                for name in (claim.recommender, *claim.above)
            }
            verdicts[claim.name] = judge(claim, known[claim.recommender], known)
    text = page([verdicts[name] for name in claims], protocols, "make reproduce DATA=<folder>")
    with atomic_file(chosen.page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    say(f"written: {chosen.page}")
    return EXIT_MISSED if any(verdicts[claim.name].finding == MISSED for claim in wanted) else 0


def named(asked: str, claims: dict[str, Any]) -> list[Any]:
    """Claims by their names, separated by commas; ``ml1m_*`` stands for all whose names begin so.

    Raises:
        ValueError: there is none of a name.
    """
    patterns = [name.strip() for name in asked.split(",") if name.strip()]
    if unknown := sorted(pattern for pattern in patterns if not fnmatch.filter(claims, pattern)):
        raise ValueError(f"there is no claim {', '.join(unknown)}; there are {', '.join(claims)}")
    found = [name for pattern in patterns for name in fnmatch.filter(claims, pattern)]
    return [claims[name] for name in dict.fromkeys(found)]


def find(folder: Path, name: str) -> Path:
    """The file or folder of that name at any depth.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted(folder.rglob(name), key=lambda path: (len(path.parts), path))
    if not found:
        raise FileNotFoundError(f"{folder} holds no {name}: give the folder that holds it, at any depth, as DATA")
    return found[0]


def prepare(protocol, source: Path):
    """The training set of a protocol, through the warehouse like any other."""
    from ml.data.build_training_set import build_training_set
    from ml.data.item_text import item_texts
    from ml.data.protocol import split_protocol
    from ml.data.times import build_times
    from orchestration.commands import run
    from orchestration.definitions import defs
    from orchestration.paths import Workspace
    from orchestration.resources import Settings, resolved

    workspace = Workspace.current()
    paths = workspace.dataset(protocol.dataset)
    settings = Settings(
        k_core=protocol.k_core,
        validation_users=protocol.validation_users,
        exclude_seen=protocol.exclude_seen,
    )
    options = ["--dataset", protocol.dataset, "--dumps", str(source if source.is_dir() else source.parent)]
    options += ["--layout", protocol.layout] if protocol.layout else []
    with run.working_on(workspace, paths, "make reproduce", wait=True) as instance:
        run.register(instance, paths, run.parse(options))
        if run.make(instance, defs, protocol.dataset, settings, data_only=True) is None:
            raise ValueError(f"{protocol.title}: the data could not be made ready, see above")
        training_set = build_training_set(
            protocol.dataset,
            paths.table("marts", "splits"),
            split_protocol(resolved(settings), paths.table("marts", "interactions")),
        )
        if (times := build_times(paths.table("marts", "splits"), training_set)) is not None:
            training_set = times.added_to(training_set)
        return training_set.with_text(item_texts(paths.table("marts", "items"), training_set.item_ids))


if __name__ == "__main__":
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    sys.exit(main())
