"""The versions of a dataset's assets that are on disk: what there is, what has to stay, and what can go.

Each asset that is a folder keeps its last versions (:mod:`ml.data.versions`), and so does the leaderboard. What the
champion and the champions before it, which one may roll back to, were made of is pinned: the training set that a bundle
names by its digest, and the leaderboards that were made of it. Rankings and marts have no earlier versions: a bundle
and a training set give the rankings again, and the dumps give the marts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ml.data.files import DamagedFile, clean_leftovers, leftovers, read_json
from ml.data.versions import bytes_of, pins_of, remove_old, set_pins, versions_of, with_versions
from orchestration.paths import DatasetPaths

_BUNDLE_FILE, _TRAINING_SET_FILE = "bundle.json", "training_set.json"
# those of the champion, the reports and the leaderboard are as many as their writers say
_OWN_NUMBER = (("release", "champion"), ("evaluation", "report"), ("evaluation", "leaderboard.parquet"))


@dataclass(frozen=True)
class Stored:
    """One version of an asset on disk.

    Attributes:
        asset: its path in the lake, as ``training_sets/sequences``.
        digest: the name of the version.
        put_in_place: when it became the current one, in UTC.
        bytes: of disk that removing it would free.
        is_current: whether the asset is this version.
        pinned_by: who needs it to stay.
    """

    asset: str
    digest: str
    put_in_place: datetime
    bytes: int
    is_current: bool
    pinned_by: tuple[str, ...]


@dataclass(frozen=True)
class Leaderboard:
    """A leaderboard that was kept.

    Attributes:
        digest: the name of its version.
        put_in_place: when it was made.
        is_current: whether it is the present one.
        training_set: first digits of the digest of the training set.
        recommenders: how many it compares.
        users: test users.
        best: title of the recommender with the best nDCG@10.
        ndcg: its nDCG@10.
        started_from: the release whose weights it was trained from; empty for fresh weights.
        run: the Dagster run that made it; empty where that is not known.
        code: version or commit of this project then; empty where that is not known.
    """

    digest: str
    put_in_place: datetime
    is_current: bool
    training_set: str
    recommenders: int
    users: int
    best: str
    ndcg: float
    started_from: str
    run: str = ""
    code: str = ""


@dataclass(frozen=True)
class Freed:
    """What was removed, or would be.

    Attributes:
        what: in words.
        bytes: of disk.
    """

    what: str
    bytes: int


def history(paths: DatasetPaths) -> list[Stored]:
    """The versions of all assets of a dataset, by asset, the latest first.

    Raises:
        DamagedFile: it cannot be read what is pinned.
    """
    return [
        Stored(
            asset=path.relative_to(paths.lake.resolve()).as_posix(),
            digest=version.digest,
            put_in_place=version.put_in_place,
            bytes=bytes_of(version.path),
            is_current=version.is_current,
            pinned_by=version.pinned_by,
        )
        for path in with_versions(paths.lake.resolve())
        for version in versions_of(path)
    ]


def leaderboards(paths: DatasetPaths) -> list[Leaderboard]:
    """The leaderboards that were kept, the latest first.

    Raises:
        DamagedFile: one of them cannot be read.
        ValueError: the record of the runs that made them cannot be read.
    """
    from ml.release.over_time import read_standings
    from ml.reports.collect.over_time import history_folder

    # a leaderboard that was made again with the same figures is that of the first run
    made = {one.leaderboard: one for one in reversed(read_standings(history_folder(paths.lake)))}
    return [_leaderboard(version, made.get(version.digest)) for version in versions_of(paths.leaderboard)]


def _leaderboard(version: Any, made: Any) -> Leaderboard:
    table, choices = _read_leaderboard(version.path)
    best = max(table.to_pylist(), key=lambda row: row["ndcg@10"])
    return Leaderboard(
        digest=version.digest,
        put_in_place=version.put_in_place,
        is_current=version.is_current,
        training_set=choices.get("dataset digest", ""),
        recommenders=table.num_rows,
        users=best["users"],
        best=best["title"],
        ndcg=best["ndcg@10"],
        # a leaderboard of an earlier version lacks the column
        started_from=best.get("started_from") or "",
        run="" if made is None else made.run,
        code="" if made is None else made.code,
    )


def _read_leaderboard(path: Path) -> tuple[Any, dict[str, str]]:
    import pyarrow.parquet as pq

    from ml.data.files import whole
    from ml.evaluation.protocol_line import protocol

    with whole(path):
        table = pq.read_table(path)
        return table, protocol(table)


def pin_released(paths: DatasetPaths) -> None:
    """Pin what the champions on disk were made of, and nothing else; whoever calls holds the lock of the dataset.

    Each run begins with it. What a release that was promoted since the last run refers to is there: it was the current
    version when the release was made, and the one before the current one always stays.
    """
    champions = versions_of(paths.champion)
    sequences, board = paths.asset("training_sets", "sequences"), paths.leaderboard
    before = {path: _pins_before(path) for path in (sequences, board)}
    holders: dict[str, list[str]] = {}
    unreadable = set()
    for version in champions:
        holder = f"champion {version.digest[:12]}"
        try:
            digest = read_json(version.path, _BUNDLE_FILE)["digests"]["training_set"]
        except (DamagedFile, KeyError, TypeError):
            # what it was made of is not known any more: what was pinned for it stays
            unreadable.add(holder)
        else:
            holders.setdefault(digest, []).append(holder)
    for path, digest_of in ((sequences, _digest_of_sequences), (board, _digest_of_leaderboard)):
        pins: dict[str, list[str]] = {}
        for stored in versions_of(path) if holders or unreadable or before[path] else []:
            made_of = digest_of(stored.path)
            wanted = [one for digest, some in holders.items() if made_of and digest.startswith(made_of) for one in some]
            kept = [one for one in before[path].get(stored.digest, []) if one in unreadable]
            pins[stored.digest] = [*wanted, *kept]
        if {name: sorted(some) for name, some in pins.items() if some} != before[path]:
            set_pins(path, pins)


def _pins_before(path: Path) -> dict[str, list[str]]:
    """What is pinned now; nothing where that cannot be read, so that it is written anew."""
    try:
        return pins_of(path)
    except DamagedFile:
        set_pins(path, {})
        return {}


def _digest_of_sequences(version: Path) -> str:
    try:
        return read_json(version, _TRAINING_SET_FILE)["digest"]
    except (DamagedFile, KeyError, TypeError):
        return ""


def _digest_of_leaderboard(version: Path) -> str:
    """The first digits of the digest of its training set."""
    try:
        return _read_leaderboard(version)[1].get("dataset digest", "")
    except DamagedFile:
        return ""


def clean(paths: DatasetPaths, dry_run: bool = False) -> Iterator[Freed]:
    """Remove versions beyond those that stay, and what killed processes left; whoever calls holds the lock.

    Args:
        paths: of the dataset.
        dry_run: remove nothing.

    Raises:
        ValueError: ``RAW2RANK_KEEP`` is not possible.
    """
    own = {paths.asset(*key).parent.resolve() / key[-1] for key in _OWN_NUMBER}
    for path in with_versions(paths.lake.resolve()):
        if path in own:
            continue
        name = path.relative_to(paths.lake.resolve()).as_posix()
        for version, size in remove_old(path, dry_run=dry_run):
            yield Freed(f"{name} {version.digest[:12]} of {version.put_in_place:%Y-%m-%d %H:%M}", size)
    for folder in _folders(paths.lake):
        for left in leftovers(folder):
            yield Freed(f"{left.parent.relative_to(paths.lake.parent)}: what a killed process left", bytes_of(left))
        if not dry_run:
            clean_leftovers(folder)
    if paths.spill.exists():
        yield Freed("what the warehouse had put on disk for want of memory", bytes_of(paths.spill))
        if not dry_run:
            shutil.rmtree(paths.spill)


def _folders(root: Path) -> Iterator[Path]:
    """A folder and all below it but hidden ones; links are not followed."""
    if not root.is_dir():
        return
    yield root
    for path in sorted(root.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _folders(path)
