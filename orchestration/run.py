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
from pathlib import Path

EXIT_FAILED = 1


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from orchestration.resources import TIE_ORDERS, Settings

    fields = Settings.model_fields
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--dataset", default="Demo", help="name of the dataset, e.g. Industrial_and_Scientific")
    parser.add_argument("--dumps", type=Path, help="folder that holds its dump files")
    parser.add_argument("--k-core", type=int, default=5, help=fields["k_core"].description)
    parser.add_argument("--tie-order", choices=TIE_ORDERS, default="hash", help=fields["tie_order"].description)
    parser.add_argument("--validation-users", type=int, default=512, help=fields["validation_users"].description)
    parser.add_argument("--seed", type=int, default=0, help=fields["seed"].description)
    parser.add_argument("--recipes", default="", help="names, separated by commas; all when empty")
    parser.add_argument("--exclude-seen", action="store_true", help=fields["exclude_seen"].description)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    from orchestration.console import problem, say
    from orchestration.paths import Workspace, check_dataset_name

    started = time.monotonic()
    try:
        check_dataset_name(chosen.dataset)
        settings = _settings(chosen)
    except ValueError as error:
        problem(str(error))
        return EXIT_FAILED
    workspace = Workspace.current()
    with _instance(workspace) as instance:
        from orchestration.definitions import defs

        paths = workspace.dataset(chosen.dataset)
        _land(instance, paths, chosen)
        say(f"raw2rank: dataset {chosen.dataset}, dumps in {paths.dumps}")
        made = make(instance, defs, chosen.dataset, settings)
    if made is None:
        return EXIT_FAILED
    if not made:
        say(f"everything is up to date ({time.monotonic() - started:.0f} s)")
    else:
        say(f"{made} assets made in {time.monotonic() - started:.0f} s")
    _show(paths)
    return 0


def make(instance, defs, dataset: str, settings) -> int | None:
    """Make what is out of date; how many assets that were, or ``None`` after a failure told on the console."""
    import dagster as dg

    from orchestration.assets.raw import observe
    from orchestration.assets.settings import SLICES, chosen, version_of
    from orchestration.console import explain, run_quietly, say
    from orchestration.staleness import CHECKED_LAYERS, asset_graph, data_version, out_of_date

    observe(instance, dataset)
    graph = asset_graph()
    job = defs.resolve_job_def("everything")
    made = 0
    changed_settings = {
        key
        for name in SLICES
        if data_version(instance, key := dg.AssetKey(["settings", name]), dataset) != version_of(chosen(settings, name))
    }
    unwanted = _unwanted(graph, settings)
    everything = graph.materializable_asset_keys - unwanted
    # after each phase it is known what has really changed; and nothing is fitted before all checks have passed
    phases = [
        {"settings", "landing"},
        {*CHECKED_LAYERS},
        {"training_sets"},
        {graph.get(key).group_name for key in everything},
    ]
    for groups in phases:
        keys = {key for key in everything if graph.get(key).group_name in groups}
        reasons = out_of_date(instance, graph, dataset, keys)
        reasons |= dict.fromkeys(changed_settings & keys - set(reasons), "another choice")
        changed_settings = set()
        if not reasons:
            continue
        say(explain(reasons))
        config = {"resources": {"settings": {"config": settings.model_dump()}}}
        if not run_quietly(job, instance, dataset, sorted(reasons), config, str(uuid.uuid4())):
            return None
        made += len(reasons)
    return made


def _unwanted(graph, settings) -> set:
    """Models of recipes that were not chosen, and what exists for them alone."""
    from orchestration.recommenders import recipe_names

    if not settings.recipes:
        return set()
    names = set(recipe_names()) - set(settings.recipes)
    return {
        key
        for key in graph.materializable_asset_keys
        if graph.get(key).group_name in {"models", "rankings"} and key.path[-1] in names
    }


def _settings(chosen: argparse.Namespace):
    """The settings of the command line, checked.

    Raises:
        ValueError: saying which value is not possible and what is.
    """
    from pydantic import ValidationError

    from orchestration.recommenders import check_recipes
    from orchestration.resources import Settings

    recipes = [name.strip() for name in chosen.recipes.split(",") if name.strip()]
    check_recipes(recipes)
    try:
        return Settings(
            k_core=chosen.k_core,
            tie_order=chosen.tie_order,
            validation_users=chosen.validation_users,
            seed=chosen.seed,
            recipes=recipes,
            exclude_seen=chosen.exclude_seen,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{str(first['loc'][0]).upper()}={first['input']}: {first['msg']}") from error


def _instance(workspace):
    """The Dagster instance of the workspace, made on first use; offline, without telemetry."""
    import dagster as dg

    from orchestration.console import quiet

    quiet()
    configure_instance(workspace)
    os.environ["DAGSTER_HOME"] = str(workspace.dagster_home)
    return dg.DagsterInstance.get()


def configure_instance(workspace) -> None:
    """Write the instance's configuration where there is none; one that a user has edited stays."""
    from ml.data.files import atomic_file

    path = workspace.dagster_home / "dagster.yaml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n")


def _land(instance, paths, chosen: argparse.Namespace) -> None:
    """Register the dataset; write the demo dump where it is asked for and nothing has landed."""
    from orchestration.console import say
    from orchestration.partitions import datasets

    if chosen.dumps or not paths.registration.exists():
        paths.register(chosen.dumps)
    if chosen.dataset == "Demo" and not chosen.dumps and not any(paths.dumps.glob("*.json.gz")):
        from ml.data.demo import write_demo_dump

        write_demo_dump(paths.dumps)
        say(f"wrote a demo dump to {paths.dumps}")
    if not instance.has_dynamic_partition(datasets.name, chosen.dataset):
        instance.add_dynamic_partitions(datasets.name, [chosen.dataset])


def _show(paths) -> None:
    from orchestration.console import leaderboard_text, say

    say("")
    say(leaderboard_text(paths))
    say("")
    say(f"report: {paths.report}")


if __name__ == "__main__":
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    sys.exit(main())
