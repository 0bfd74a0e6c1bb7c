"""``make run``: bring one dataset from its dumps to its leaderboard, making only what is out of date.

Runs in this process, on the instance that the UI shows. First the data with its checks, then the training set,
and then, with what has really changed known, everything that is fitted on it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.exits import EXIT_FAILED, ends_plainly

# of a new workspace; without `retention`, Dagster keeps all ticks but those of sensors that asked for nothing
_DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
retention:
  sensor:
    purge_after_days: {skipped: 7, failure: 30, success: 90}
  schedule:
    purge_after_days: {skipped: 7, failure: 30, success: 90}
"""


class NoSuchDataset(ValueError):
    """No files lie where those of a dataset were looked for."""


def parse(
    arguments: list[str] | None = None,
    command: str = "make run",
    about: str | None = __doc__,
    switches: Mapping[str, str] | None = None,
    exit_code: int = EXIT_FAILED,
) -> argparse.Namespace:
    """The options: the dataset, where its files lie, and every field of the settings by its own name.

    ``switches`` are further options of a command, by name, each with what it does. What is
    not understood ends the command with ``exit_code``.
    """
    from ml.data.setting_names import RENAMED
    from orchestration.options import Parser, as_type, folder_or_url, kind_of, path, reader, shown_default
    from orchestration.resources import DEFAULTS, SETTINGS, group_of

    parser = Parser(exit_code, RENAMED, prog=command, description=about)
    files = parser.group("dataset and files")
    files.add_argument("--dataset", default="Demo", help="name of the dataset, e.g. Industrial_and_Scientific")
    files.add_argument(
        "--dumps",
        type=as_type(folder_or_url),
        help="folder that holds its files, or a URL such as s3://bucket/prefix; landing/<dataset> when left out",
    )
    files.add_argument("--layout", help="how they are laid out, where it cannot be seen from their names")
    files.add_argument(
        "--source", type=as_type(path), help="TOML file that says which files they are and what is in them"
    )
    for name, field in SETTINGS.items():
        option = f"--{name.replace('_', '-')}"
        # None where an option is not given
        alone: dict[str, Any] = {"nargs": "?", "const": True} if kind_of(field.annotation) is bool else {}
        does = f"{field.description} (default: {shown_default(DEFAULTS[name])})".replace("%", "%%")
        group = parser.group(group_of(name))
        group.add_argument(option, type=as_type(reader(field.annotation)), help=does, **alone)
    for name, does in (switches or {}).items():
        parser.add_switch(f"--{name}", does)
    parser.add_waiting()
    return parser.parse_args(arguments)


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    from orchestration.commands.nothing_new import Command

    command = Command.given(arguments)
    if paths := command.nothing_new():
        print(f"raw2rank: dataset {paths.dataset}, dumps in {paths.dumps_shown}")
        print("everything is up to date: nothing has changed since the same command found so")
        _show(paths)
        return 0
    chosen = parse(arguments)
    from orchestration.commands.console import problem
    from orchestration.dataset_lock import DatasetBusy
    from orchestration.paths import Workspace, check_dataset_name

    try:
        check_dataset_name(chosen.dataset)
        _settings(chosen)
    except ValueError as error:
        problem(str(error))
        return EXIT_FAILED
    workspace = Workspace.current()
    paths = workspace.dataset(chosen.dataset)
    try:
        with working_on(workspace, paths, "make run", wait=not chosen.no_wait) as instance:
            done = _run(instance, paths, chosen)
        if done is None:
            return EXIT_FAILED
        if done.nothing_left:
            command.remember(paths, done.dumps)
        return 0
    except (DatasetBusy, NoSuchDataset) as error:
        problem(str(error))
        return EXIT_FAILED


@dataclass(frozen=True)
class Done:
    """Result of a run.

    Attributes:
        nothing_left: whether the same run would find nothing to do.
        dumps: state of the files of the dataset before the run looked at them.
    """

    nothing_left: bool
    dumps: str


def _run(instance, paths, chosen: argparse.Namespace) -> Done | None:
    """Run while holding the lock of the dataset; ``None`` after a failure, which was printed."""
    from ml.recommenders.choice import chosen_names
    from orchestration.assets.left_out import sentences
    from orchestration.commands.console import say
    from orchestration.commands.nothing_new import dumps_of
    from orchestration.definitions import defs
    from orchestration.execution.crash_recovery import discard_checkpoints
    from orchestration.execution.plan import plan
    from orchestration.execution.staleness import asset_graph
    from orchestration.selection import left_out

    started = time.monotonic()
    register(instance, paths, chosen)
    # before the settings are read, so that a file that changes meanwhile is seen to have changed
    dumps = dumps_of(paths)
    say(f"raw2rank: dataset {chosen.dataset}, dumps in {paths.dumps_shown}")
    settings = settings_for(chosen, "the defaults")
    for sentence in left_out(settings.recipes or []):
        say(sentence)
    made = make(instance, defs, chosen.dataset, settings)
    if made is None:
        return None
    discard_checkpoints(paths, chosen_names(settings.recipes or []))
    for sentence in sentences(chosen.dataset):
        say(sentence)
    if not made:
        say(f"everything is up to date ({time.monotonic() - started:.0f} s)")
    else:
        say(f"{made} assets made in {time.monotonic() - started:.0f} s")
    publish_where_asked(instance, paths)
    _show(paths)
    return Done(not made or not plan(instance, asset_graph(), chosen.dataset, settings), dumps)


@contextmanager
def working_on(workspace, paths, command: str, wait: bool) -> Iterator:
    """The instance, with the lock of a dataset held and what a killed run left in it cleared up.

    Raises:
        DatasetBusy: another process holds the dataset, and ``wait`` is false.
    """
    from orchestration.commands.console import say
    from orchestration.dataset_lock import dataset_lock

    def tell(holder: str) -> None:
        say(f"waiting for {holder}; --no-wait (WAIT=0) fails instead")

    workspace.check()
    with dataset_lock(paths, command, wait, tell) as lock, _instance(workspace) as instance:
        from orchestration.execution.crash_recovery import clear_up

        killed = clear_up(instance, paths, lock)
        if killed:
            say(f"cleared up after {killed}")
        yield instance


def make(instance, defs, dataset: str, settings, data_only: bool = False) -> int | None:
    """Make what is out of date; returns the number of assets, or ``None`` after a failure, which was printed.

    With ``data_only`` nothing is made of what comes after the checked data.
    """
    from orchestration.assets.left_out import refusals
    from orchestration.assets.raw import observe
    from orchestration.commands.console import explain, problem, run_quietly, say
    from orchestration.dataset_lock import announce
    from orchestration.execution.phases import DATA_PHASES, PHASES, in_phase
    from orchestration.execution.plan import plan
    from orchestration.execution.staleness import asset_graph
    from orchestration.files_read import files_read, to_text
    from orchestration.paths import Workspace

    paths = Workspace.current().dataset(dataset)
    not_read = observe(instance, dataset)
    graph = asset_graph()
    job = defs.resolve_job_def("all_recipes")
    planned = plan(instance, graph, dataset, settings)
    reasons: dict[Any, str] | None = planned
    made = 0
    if not any(key.path[0] == "landing" for key in planned):
        # a landing tells it with how the files were read
        for sentence in not_read:
            say(f"warning: {sentence}")
    for phase, groups in PHASES.items():
        if data_only and phase not in DATA_PHASES:
            break
        if reasons is None:
            reasons = plan(instance, graph, dataset, settings)
        todo = {key: reason for key, reason in reasons.items() if in_phase(graph, key, groups)}
        if data_only:
            # a look at the data decides nothing about what is trained and compared
            todo = {key: why for key, why in todo.items() if key.path[0] != "settings" or key.path[-1] == "dataset"}
        if not todo:
            continue
        if groups is None and (refused := refusals(settings, paths, todo)):
            # before anything is trained, and all of them at once
            for text in refused:
                problem(f"{dataset}: {text}")
            return None
        say(explain(todo))
        config = {"resources": {"settings": {"config": settings.model_dump(mode="json", exclude_none=True)}}}
        run_id = str(uuid.uuid4())
        announce(paths, run_id)
        tags = {"raw2rank/command": "make check-data" if data_only else "make run", "raw2rank/phase": phase}
        succeeded = run_quietly(job, instance, dataset, sorted(todo), config, run_id, tags)
        if any(key.path[0] == "landing" for key in todo) and (files := files_read(paths)):
            say(f"how the files were read:\n{to_text(files)}")
        if not succeeded:
            return None
        made += len(todo)
        reasons = None
    return made


def settings_for(chosen: argparse.Namespace, others: str, keep: bool = False):
    """The settings of a command on a dataset: as given, else as in the file of the dataset; says which are which.

    Args:
        chosen: the options.
        others: what the console is told of all other settings.
        keep: whether these are as written down for the dataset, instead of the defaults.

    Raises:
        RegistrationError: the file of the dataset cannot be used.
    """
    from orchestration.commands.console import say
    from orchestration.dataset_settings import file_settings, notices_of_file, origins

    file = file_settings(chosen.dataset)
    for text in notices_of_file(chosen.dataset):
        say(f"notice: {text}")
    if file:
        say(f"settings {origins(_settings(chosen, keep=True), chosen.dataset, others)}")
    return _settings(chosen, file, keep)


def _settings(chosen: argparse.Namespace, file: Mapping[str, Any] | None = None, keep: bool = False):
    """The settings of the command line, checked.

    What was not given is as in ``file``; what is not there either has its default, or with ``keep`` no value.

    Raises:
        ValueError: saying which value is not possible and what is.
    """
    from orchestration.dataset_settings import check_settings, check_sources, made_of
    from orchestration.resources import DEFAULTS

    others = {**({} if keep else DEFAULTS), **(file or {})}
    given = {name: getattr(chosen, name) for name in DEFAULTS}
    values = {name: others.get(name) if value is None else value for name, value in given.items()}
    settings = made_of(values)
    check_settings(settings)
    check_sources(settings.pretrain_on or [], chosen.dataset)
    return settings


def _instance(workspace):
    """The Dagster instance of the workspace, made on first use; offline, without telemetry."""
    from orchestration.commands.console import quiet
    from orchestration.dataset_lock import exclusive_lock
    from orchestration.execution.dagster_sqlite import open_instance

    quiet()
    workspace.check()
    configure_instance(workspace)
    os.environ["DAGSTER_HOME"] = str(workspace.dagster_home)
    # of two processes that find no storage both would make its tables
    with exclusive_lock(workspace.dagster_home):
        return open_instance(workspace.dagster_home)


def configure_instance(workspace) -> None:
    """Write the instance's configuration where there is none; one that a user has edited stays."""
    from ml.data.files import atomic_file

    path = workspace.dagster_home / "dagster.yaml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text(_DAGSTER_YAML)


def register(instance, paths, chosen: argparse.Namespace) -> None:
    """Register the dataset; write the demo dump where it is asked for and nothing has landed.

    Raises:
        NoSuchDataset: no folder of its files exists; nothing is registered.
        StorageError: object storage cannot be read; nothing is registered.
    """
    from orchestration.automation.registration import find
    from orchestration.commands.console import say
    from orchestration.partitions import datasets
    from orchestration.paths import Workspace

    look_in = chosen.dumps or paths.dumps_url or paths.dumps.resolve()
    if not _is_there(look_in) and (chosen.dataset != "Demo" or not isinstance(look_in, Path)):
        workspace = Workspace.current()
        known = sorted({"Demo", *find(workspace).datasets})
        what = f"folder {look_in.resolve()}" if isinstance(look_in, Path) else f"object below {look_in}/"
        raise NoSuchDataset(
            f"{chosen.dataset}: there is no {what}; put its files there or name their folder with "
            f"DUMPS=folder. Known datasets: {', '.join(known)}"
        )

    if chosen.dumps or chosen.layout or chosen.source:
        paths.register(chosen.dumps or paths.dumps_url or paths.dumps, chosen.layout, chosen.source)
    elif not paths.registration.exists():
        paths.register_as_before()
    # the reviews are written last: where there is metadata alone, the writing was cut short
    landed = any(not path.name.startswith("meta_") for path in paths.dumps.glob("*.json.gz"))
    if chosen.dataset == "Demo" and not chosen.dumps and not landed and paths.dumps_url is None:
        from ml.demo.dump import write_demo_dump

        write_demo_dump(paths.dumps)
        say(f"wrote a demo dump to {paths.dumps}")
    if not instance.has_dynamic_partition(datasets.name, chosen.dataset):
        instance.add_dynamic_partitions(datasets.name, [chosen.dataset])


def publish_where_asked(instance, paths) -> None:
    """Publish the data of a dataset where ``RAW2RANK_SHARED_LAKE`` names a place.

    Raises:
        StorageError: it cannot be written; what was made stays, and the same command tries again.
    """
    from orchestration.commands.console import say
    from orchestration.shared_lake import lake_of, publish

    if lake_of(paths.dataset) is not None:
        say(publish(instance, paths))


def _is_there(dumps) -> bool:
    """Whether there is a folder, or an object below a URL."""
    if isinstance(dumps, Path):
        return dumps.exists()
    from ml.data.object_storage.dumps import objects_below

    return bool(objects_below(dumps))


def _show(paths) -> None:
    import pyarrow.parquet as pq

    from ml.evaluation.leaderboard_text import to_text_table
    from ml.extras import missing
    from orchestration.called_as import as_called
    from orchestration.release import read_state

    table = to_text_table(pq.read_table(paths.leaderboard))
    report = "" if missing("report") else f"\n\nreport: {paths.report}"
    state = read_state(paths)
    release = f"\n\nrelease: {state.sentence}" if state is not None else ""
    print(as_called(f"\n{table}{release}{report}"), flush=True)


if __name__ == "__main__":
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    sys.exit(main())
