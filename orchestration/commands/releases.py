"""What the commands ``promote`` and ``rollback`` have in common."""

from __future__ import annotations

import argparse
import uuid
from typing import Any

from orchestration.exits import EXIT_FAILED


def parser_of(command: str, about: str | None) -> Any:
    """A parser with the options of both commands."""
    from orchestration.options import Parser

    parser = Parser(prog=command, description=about)
    parser.add_argument("name", nargs="?", help="name of the dataset, in place of --dataset")
    parser.add_argument("--dataset", default="Demo", help="name of the dataset")
    parser.add_argument("--reason", default="", help="why, for the history of the releases")
    parser.add_waiting()
    return parser


def change(chosen: argparse.Namespace, command: str, job: str, op: str, config: dict[str, str]) -> int:
    """Run a job that changes what is in charge of a dataset; the exit code."""
    from orchestration.commands.console import problem, run_quietly, say
    from orchestration.commands.run import working_on
    from orchestration.dataset_lock import DatasetBusy, announce
    from orchestration.definitions import defs
    from orchestration.partitions import datasets
    from orchestration.paths import Workspace, check_dataset_name
    from orchestration.release import read_state

    dataset = chosen.name or chosen.dataset
    try:
        check_dataset_name(dataset)
    except ValueError as error:
        problem(str(error))
        return EXIT_FAILED
    workspace = Workspace.current()
    paths = workspace.dataset(dataset)
    if not paths.asset("release").exists():
        problem(f"{dataset} has no release yet: make run DATASET={dataset} makes a candidate")
        return EXIT_FAILED
    try:
        with working_on(workspace, paths, command, wait=not chosen.no_wait) as instance:
            # Dagster's records may be newer than the lake, as after a restored backup
            instance.add_dynamic_partitions(datasets.name, [dataset])
            run_id = str(uuid.uuid4())
            announce(paths, run_id)
            ops = {"ops": {op: {"config": config}}}
            if not run_quietly(defs.resolve_job_def(job), instance, dataset, None, ops, run_id):
                return EXIT_FAILED
    except DatasetBusy as error:
        problem(str(error))
        return EXIT_FAILED
    state = read_state(paths)
    assert state is not None  # the job has written it
    say(f"release: {state.sentence}")
    return 0
