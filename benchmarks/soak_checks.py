"""What holds after every refresh of the soak, looked at from outside: files are counted and lists are measured anew.

Each function returns what is broken, a sentence each.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq

import raw2rank
from ml.data.training_set import TrainingSet
from ml.data.versions import VERSIONS, kept_before, pins_of, versions_of, with_versions
from ml.release.bundle import Bundle, BundleError
from ml.release.gate.decision import digest_of
from ml.release.gate.history import PROMOTED, PROMOTED_BY_HAND, in_charge, read_history
from orchestration.assets.evaluation import LEADERBOARDS_KEPT
from orchestration.assets.report import REPORTS_KEPT
from orchestration.paths import DatasetPaths
from orchestration.release import CHAMPIONS_KEPT, UNDER_WAY_FILE, read_state

# the gate's own: nDCG@10 may fall by this share of the champion's
MARGIN = 0.05
# made from scratch they are to be the same, byte for byte
COMPARED = (
    *(f"marts/{name}.parquet" for name in ("interactions", "items", "reconciliation", "splits", "statistics", "users")),
    "evaluation/leaderboard.parquet",
)
_WORKING = ".writing-*"


@dataclass(frozen=True)
class Disk:
    """Bytes of a workspace.

    Attributes:
        current: what the plain paths of the lake lead to.
        lake: with earlier versions.
        events: Dagster's record of runs and events.
        rest: everything else but the dumps.
    """

    current: int
    lake: int
    events: int
    rest: int


def disk(home: Path, lake: Path) -> Disk:
    """What a workspace takes."""
    current = _bytes(lake, follow=True, skipped={VERSIONS})
    events = _bytes(home / "dagster")
    return Disk(current, _bytes(lake), events, _bytes(home, skipped={"lake", "dagster"}))


def _bytes(folder: Path, follow: bool = False, skipped: Collection[str] = ()) -> int:
    total, seen = 0, set()
    for where, names, files in os.walk(folder, followlinks=follow):
        names[:] = [name for name in names if name not in skipped]
        for name in files:
            try:
                state = os.stat(Path(where, name), follow_symlinks=follow)
            except FileNotFoundError:
                # a lock or a log that was removed meanwhile
                continue
            if (state.st_dev, state.st_ino) not in seen:
                seen.add((state.st_dev, state.st_ino))
                total += 512 * state.st_blocks
    return total


def rows_are_accounted_for(paths: DatasetPaths, dumps: Path) -> list[str]:
    """Every line of the dumps is in the reconciliation, with what became of it."""
    broken = []
    table = {row["source_file"]: row for row in pq.read_table(paths.table("marts", "reconciliation")).to_pylist()}
    files = {path.name: _lines(path) for path in dumps.glob("*.json.gz")}
    if table.keys() != files.keys():
        broken.append(f"reconciliation is of {sorted(table)}, the dump holds {sorted(files)}")
    for name in table.keys() & files.keys():
        row = table[name]
        if row["rows_read"] != files[name]:
            broken.append(f"{name}: {files[name]} lines, {row['rows_read']} in the reconciliation")
        dropped = sum(value for column, value in row.items() if column.startswith("dropped_by_"))
        explained = row["rejected"] + row["repeated"] + row["duplicates"] + dropped
        if row["rows_read"] != explained + row["not_in_catalogue"] + row["kept"] or row["unexplained"]:
            broken.append(f"{name}: rows that nothing explains: {row}")
    kept = sum(row["kept"] for row in table.values() if row["source"] == "reviews")
    rows = pq.read_metadata(paths.table("marts", "interactions")).num_rows
    if kept != rows:
        broken.append(f"{kept} rows are said to be kept, marts/interactions has {rows}")
    return broken


def _lines(path: Path) -> int:
    with gzip.open(path) as file:
        return file.read().count(b"\n")


def champion_loads(paths: DatasetPaths) -> list[str]:
    """The release in charge, where there is one, opens and recommends, and says that it is in charge."""
    if not paths.champion.exists():
        return []
    try:
        bundle = raw2rank.load(paths.champion)
        lists = bundle.recommend([[bundle.item_ids[0].decode()], []], k=10)
    except BundleError as error:
        return [f"the champion does not load: {error}"]
    wanted = min(10, bundle.items)
    short = [str(len(one)) for one in lists.items if len(one) < wanted and not bundle.exclude_seen]
    return [f"the champion gives lists of {', '.join(short)} items, not {wanted}"] if short else []


def history_is_whole(paths: DatasetPaths) -> list[str]:
    """The history, ``champion.json`` and the folder agree, and no promotion stands there twice."""
    broken = []
    events = read_history(paths.asset("release"))
    standing, state = in_charge(events), read_state(paths)
    digest = digest_of(raw2rank.load(paths.champion)) if paths.champion.exists() else ""
    last = standing[-1].release if standing else ""
    if not last == digest == (state.release if state else ""):
        broken.append(f"in charge is {digest}, the history says {last}, champion.json {state and state.release}")
    promotions = [event for event in events if event.event in (PROMOTED, PROMOTED_BY_HAND)]
    twice = [str(pair) for pair, times in Counter((one.run, one.release) for one in promotions).items() if times > 1]
    again = [two.release for one, two in pairwise(standing) if one.release == two.release]
    if twice or again:
        broken.append(f"the history has a promotion twice: {twice or again}")
    if (paths.asset("release") / UNDER_WAY_FILE).exists():
        broken.append(f"{UNDER_WAY_FILE} was left")
    return broken


def not_worse(paths: DatasetPaths, before: Path) -> tuple[list[str], float | None]:
    """The release in charge beside the former one, both measured here on the test users of today; and its nDCG@10."""
    if not paths.champion.exists():
        return [], None
    training_set = TrainingSet.load(paths.asset("training_sets", "sequences"))
    new, old = (mean_ndcg(raw2rank.load(folder), training_set) for folder in (paths.champion, before))
    if new >= (1 - MARGIN) * old:
        return [], new
    return [f"the champion has nDCG@10 {new:.4f}, the one that it replaced {old:.4f} on the same users"], new


def mean_ndcg(bundle: Bundle, training_set: TrainingSet) -> float:
    """nDCG@10 of a release on the test users of a training set, by item ids."""
    ids = [item.decode() for item in training_set.item_ids.tolist()]
    histories = training_set.histories("test")
    asked = [[ids[item] for item in histories[row].tolist()] for row in range(len(training_set.test_users))]
    lists = bundle.recommend(asked, k=min(10, bundle.items)).items
    gains = []
    for target, items in zip(training_set.test_targets.tolist(), lists, strict=True):
        gains.append(1 / math.log2(items.index(ids[target]) + 2) if ids[target] in items else 0.0)
    return sum(gains) / len(gains)


def nothing_half_written(home: Path) -> list[str]:
    """No working folder, no log that was written ahead, no temporary file of an earlier run."""
    found = [path for pattern in (_WORKING, "*.wal", "*.temporary") for path in home.rglob(pattern)]
    return [f"left behind: {path.relative_to(home)}" for path in found if "dagster" not in path.parts[-4:-1]]


def versions_are_cleared(paths: DatasetPaths) -> list[str]:
    """No asset has more versions than may stay."""
    allowed = {"champion": CHAMPIONS_KEPT, "report": REPORTS_KEPT, "leaderboard.parquet": LEADERBOARDS_KEPT}
    broken = []
    for path in with_versions(paths.lake.resolve()):
        if path.parent.name == "landing":
            continue
        most = 1 + allowed.get(path.name, kept_before())
        free = [version for version in versions_of(path) if version.digest not in pins_of(path)]
        if len(free) > most:
            broken.append(f"{path.relative_to(paths.lake.resolve())} has {len(free)} versions, at most {most} may stay")
    return broken


def digests(lake: Path) -> dict[str, str]:
    """SHA-256 of what a run from scratch gives the same bytes of."""
    return {name: hashlib.sha256((lake / name).read_bytes()).hexdigest() for name in COMPARED}


def verdict_of(paths: DatasetPaths) -> tuple[str, str]:
    """Verdict and sentence of the last decision on a release."""
    found = json.loads((paths.asset("release", "decision") / "decision.json").read_text())
    return found["verdict"], found["sentence"]
