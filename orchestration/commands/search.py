"""``make search``: look for better values of a recipe on a dataset that ``make run`` has brought to its training set.

Goes on where an earlier search of the same recipe stopped. Nothing of the dataset changes: the best recipe is left
as a file, to be put among the recipes or not.
"""

from __future__ import annotations

import argparse
import logging
import sys
import uuid
import warnings

from orchestration.exits import EXIT_FAILED, ends_plainly


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from ml.training.runtime import DEFAULT_THREADS
    from orchestration.options import Parser, as_type, path, whole_number

    parser = Parser(prog="make search", description=__doc__)
    parser.add_argument("--dataset", default="Demo", help="name of the dataset")
    parser.add_argument("--recipe", required=True, help="name of the recipe whose values are changed")
    parser.add_argument(
        "--trials", type=as_type(whole_number), default=20, help="finished trials to reach; those of earlier runs count"
    )
    parser.add_argument("--space", type=as_type(path), help="TOML file of the search space")
    parser.add_argument(
        "--threads",
        type=as_type(whole_number),
        help=f"torch threads of a training; as in the file of the dataset, else {DEFAULT_THREADS}, where not given",
    )
    parser.add_waiting()
    return parser.parse_args(arguments)


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    from ml.extras import MissingExtra, require
    from ml.recommenders.registry import recipes
    from orchestration.assets.searches import search_folder
    from orchestration.commands.console import problem, run_quietly, say
    from orchestration.commands.run import working_on
    from orchestration.dataset_lock import DatasetBusy, announce
    from orchestration.definitions import defs
    from orchestration.paths import Workspace, check_dataset_name

    try:
        check_dataset_name(chosen.dataset)
        if chosen.recipe not in recipes():
            raise ValueError(f"there is no recipe {chosen.recipe}; there are {', '.join(recipes())}")
        if chosen.trials < 1:
            raise ValueError(f"TRIALS must be at least 1, not {chosen.trials}")
        if chosen.threads is not None and chosen.threads < 1:
            raise ValueError(f"THREADS must be at least 1, not {chosen.threads}")
        require("train", f"RECIPE={chosen.recipe}")
    except (ValueError, MissingExtra) as error:
        problem(str(error))
        return EXIT_FAILED
    workspace = Workspace.current()
    paths = workspace.dataset(chosen.dataset)
    if not paths.asset("training_sets", "sequences").exists():
        problem(f"{chosen.dataset} has no training set yet: make run DATASET={chosen.dataset} first")
        return EXIT_FAILED
    config = {"recipe": chosen.recipe, "trials": chosen.trials}
    if chosen.threads:
        config["threads"] = chosen.threads
    if chosen.space:
        config["space"] = str(chosen.space.resolve())
    try:
        with working_on(workspace, paths, "make search", wait=not chosen.no_wait) as instance:
            run_id = str(uuid.uuid4())
            announce(paths, run_id)
            job = defs.resolve_job_def("search")
            ops = {"ops": {"searches__hyperparameters": {"config": config}}}
            if not run_quietly(job, instance, chosen.dataset, None, ops, run_id):
                return EXIT_FAILED
    except DatasetBusy as error:
        problem(str(error))
        return EXIT_FAILED
    say(f"best recipe so far: {search_folder(paths, chosen.recipe) / 'best.toml'}")
    return 0


if __name__ == "__main__":
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    sys.exit(main())
