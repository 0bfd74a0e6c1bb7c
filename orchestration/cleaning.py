"""Freeing disk, as the command ``clean-versions`` and the job ``clean`` both do it and tell of it.

When a dataset may be touched, each of them decides: the command waits for a run to end, the job leaves the dataset out.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

from ml.number_format import size
from orchestration.paths import DatasetPaths, Workspace, check_dataset_name
from orchestration.versions import clean

if TYPE_CHECKING:
    import dagster as dg

    from orchestration.dagster_internals import BaseAssetGraph
    from orchestration.execution.old_runs import Forgotten

Say = Callable[[str], object]


def datasets_to_clean(workspace: Workspace, dataset: str = "") -> list[str]:
    """The dataset that is named, or all that are registered, sorted.

    Raises:
        ValueError: there is no dataset of that name.
    """
    known = sorted(workspace.registered())
    if not dataset:
        return known
    if dataset not in known and not workspace.dataset(check_dataset_name(dataset)).lake.is_dir():
        raise ValueError(f"there is no dataset {dataset} in {workspace.home}; known are {', '.join(known) or 'none'}")
    return [dataset]


def clean_dataset(paths: DatasetPaths, dry_run: bool, say: Say) -> int:
    """Remove old versions and what killed processes left, say what, and return the bytes that this frees.

    Whoever calls holds the lock of the dataset, unless nothing is to be removed.
    """
    total = 0
    # it leads to the asset graph
    from orchestration.shared_lake import clean as clean_lake

    for freed in chain(clean(paths, dry_run), clean_lake(paths, dry_run)):
        say(f"{paths.dataset}: {freed.what}, {size(freed.bytes)}")
        total += freed.bytes
    return total


def forget_runs(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str, dry_run: bool, say: Say
) -> Forgotten:
    """Forget old runs, of one dataset or of all, and say how many."""
    from orchestration.execution.old_runs import forget_old_runs, in_words

    forgotten = forget_old_runs(instance, graph, dataset, dry_run)
    for sentence in in_words(forgotten):
        say(sentence)
    return forgotten


def in_total(freed: int, dry_run: bool) -> str:
    """The last sentence: how many bytes were freed."""
    return f"{size(freed) if freed else 'nothing'} {'would be freed' if dry_run else 'freed'}"
