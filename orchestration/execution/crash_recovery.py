"""Crash recovery: the next run on a dataset cleans up after a killed one.

Files are whole or absent by the way they are written (:mod:`ml.data.files`). What is left are working folders, runs
that Dagster believes to be under way, assets whose files may be newer than their record, and a DuckDB file that may be
damaged. All of it is seen to under the lock of the dataset, so nothing that lives is touched. Checkpoints of a training
that was broken off stay, since the next run goes on from them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import dagster as dg

from ml.data.database import TEMPORARY
from ml.data.files import clean_leftovers
from orchestration.dataset_lock import DatasetBusy, DatasetLock, Holder
from orchestration.faults import links_of, sentence
from orchestration.paths import DatasetPaths
from orchestration.release import champion_is_lost, put_champion_back
from orchestration.versions import pin_released

# what is made again where the folder of the champion is gone
_OF_THE_CHAMPION = {dg.AssetKey(["release", "decision"]), dg.AssetKey(["release", "champion"])}
# what DuckDB says of a file that another process has open; "lock" alone stands in names of files too, and in what it
# says of a damaged block
_HELD_ELSEWHERE = "could not set lock"


class WarehouseBusy(RuntimeError):
    """A program outside this project has the DuckDB file open."""


def clear_up(instance: dg.DagsterInstance, paths: DatasetPaths, lock: DatasetLock, run_id: str = "") -> Holder | None:
    """End in order what a killed holder of the lock could not, then sign the lock and see to the releases: a champion
    that somebody removed is put back from its version on disk, and what releases refer to is pinned.

    Args:
        instance: where its run is recorded.
        paths: the dataset.
        lock: its lock, held and not signed yet.
        run_id: the run that the lock is signed with.

    Returns:
        The killed holder; ``None`` where the last one ended in order.

    Raises:
        DatasetBusy: the last holder is on another machine, and Dagster counts its run as under way.
    """
    killed = lock.holder()
    if killed is not None:
        _refuse_what_runs_elsewhere(instance, paths, killed)
        fail_run(instance, killed)
        clean_tree(paths.lake)
        clean_leftovers(paths.registration.parent)
        clean_leftovers(paths.home)
        clean_leftovers(paths.home / TEMPORARY)
    complete_release(instance, paths)
    lock.sign(run_id)
    put_champion_back(paths)
    # before anything is written anew
    pin_released(paths)
    return killed


def _refuse_what_runs_elsewhere(instance: dg.DagsterInstance, paths: DatasetPaths, last: Holder) -> None:
    """Take no lock for free because the file system does not carry those of other machines.

    A run whose machine has failed is marked as failed by Dagster's run monitoring, or by *Terminate* in the UI.
    """
    run = instance.get_run_by_id(last.run_id) if last.run_id and last.is_elsewhere() else None
    if run is not None and not run.is_finished:
        raise DatasetBusy(
            f"dataset {paths.dataset} was last in use by {last}, and Dagster counts its run {run.run_id[:8]} as under "
            "way, though the lock of the dataset is free: that machine has failed, or the file system of the "
            "workspace carries no locks between machines. Wait until the run has ended or is marked as failed, or "
            "terminate it in the UI, and run this again"
        )


def fail_run(instance: dg.DagsterInstance, killed: Holder) -> None:
    """Record that the run of a killed holder has failed, where Dagster believes it to be under way."""
    run = instance.get_run_by_id(killed.run_id) if killed.run_id else None
    if run is not None and not run.is_finished:
        instance.report_run_failed(
            run,
            f"{killed.command} (process {killed.pid}, since {killed.since}) was killed during this run. What it left "
            "unfinished is made again by the next run.",
        )


def complete_release(instance: dg.DagsterInstance, paths: DatasetPaths) -> None:
    """Write down what a change of the release in charge has done that was broken off, and record it in the lineage."""
    from orchestration.release import complete

    state = complete(paths)
    if state is not None:
        from orchestration.champion_record import champion_put_in_charge

        instance.report_runless_asset_event(champion_put_in_charge(paths, state))


def clean_tree(folder: Path) -> None:
    """Clear what killed processes left anywhere below a folder."""
    clean_leftovers(folder)
    for where, names, _ in os.walk(folder):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in names:
            clean_leftovers(Path(where) / name)


def discard_checkpoints(paths: DatasetPaths, names: Iterable[str]) -> None:
    """Remove what is left of trainings that were broken off, of models that are up to date without it.

    Such a training was of another choice of settings, or of data that is no more. Checkpoints of other models stay:
    a run that makes them takes them up.
    """
    for name in names:
        for layer in ("models", "pretrained"):
            shutil.rmtree(checkpoint_of(paths.asset(layer, name)), ignore_errors=True)


def checkpoint_of(folder: Path) -> Path:
    """The folder of :func:`ml.training.checkpoint.checkpoint_folder`, without importing torch."""
    return folder.with_name(f".{folder.name}.checkpoint")


def missing(paths: DatasetPaths, keys: Iterable[dg.AssetKey]) -> set[dg.AssetKey]:
    """The given assets whose files have been removed from the lake.

    Beside the champion lies a record of what is in charge. Where the champion itself is gone, the gate has to decide
    again, too, unless a copy of it is put back before that (:func:`clear_up`).

    Intermediate models are kept in the warehouse alone, which is looked at when it is used; searches lie under the name
    of their recipe.
    """
    keys = set(keys)
    places = {key: paths.asset(*key.path) for key in keys if key.path[0] not in ("intermediate", "searches")}
    lost = {
        key
        for key, place in places.items()
        if not any(place.with_name(place.name + ending).exists() for ending in ("", ".parquet", ".json"))
    }
    if _OF_THE_CHAMPION & keys and champion_is_lost(paths):
        lost |= _OF_THE_CHAMPION & keys
    return lost


def usable_warehouse(paths: DatasetPaths) -> bool:
    """Whether the DuckDB file of a dataset is usable; one that cannot be opened is removed.

    Opening it also takes in what a killed process had written ahead. The file is derived from the landing, so nothing
    is lost with it.

    Raises:
        WarehouseBusy: another program has it open.
    """
    import duckdb

    shutil.rmtree(paths.spill, ignore_errors=True)
    if not paths.warehouse.exists():
        # a log without its file is of no use, and would be taken in by the next one
        _beside(paths.warehouse, ".wal").unlink(missing_ok=True)
        return False
    try:
        duckdb.connect(str(paths.warehouse)).close()
    except duckdb.Error as error:
        if _HELD_ELSEWHERE in str(error).lower():
            raise WarehouseBusy(
                f"{paths.dataset}: another program has {paths.warehouse} open; close it there. {error}"
            ) from error
        if sentence(links_of(error), paths.home):
            # the disk or the memory is at fault, not the file
            raise
        paths.warehouse.unlink()
        _beside(paths.warehouse, ".wal").unlink(missing_ok=True)
        return False
    return True


def _beside(warehouse: Path, ending: str) -> Path:
    return warehouse.with_name(warehouse.name + ending)
