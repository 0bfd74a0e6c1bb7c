"""The datasets that defaults are chosen on, read from the files they were published in, without their test items.

The last item of every user is dropped before anything else is done, so nothing here can look at what results are
reported on. Of the items left, the last is held out to judge by, the one before it to stop training by.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet

_LEAST = 5
_USERS_OF_A_SAMPLE = 1000


@dataclass(frozen=True)
class DefaultSet:
    """A dataset that defaults are chosen on.

    Attributes:
        title: for tables.
        file: looked for at any depth of the data folder.
        read: yields user, item, in the order of each user's interactions.
        exclude_seen: whether a user's own items are left out of rankings.
        users: which of the users are kept: all, a sample, or those with the longest histories.
    """

    title: str
    file: str
    read: Callable[[Path], Iterator[tuple[str, str]]]
    exclude_seen: bool = True
    users: str = "all"


def load(name: str, folder: Path) -> TrainingSet:
    """The set of that name of :data:`DEFAULT_SETS`, filtered to its 5-core; or of the training histories of a
    training set that was saved in the folder of that name, without its own held-out items.

    Raises:
        FileNotFoundError: the folder does not hold its file.
    """
    if (folder / name / "training_set.json").is_file():
        return _of_saved(name, TrainingSet.load(folder / name))
    chosen = DEFAULT_SETS[name]
    found = sorted(folder.rglob(chosen.file), key=lambda path: (len(path.parts), path))
    if not found:
        raise FileNotFoundError(f"{folder} holds no {chosen.file}, which the set {name} is read from")
    pairs = list(chosen.read(found[0]))
    users = _numbered([user for user, _ in pairs])
    items = _numbered([item for _, item in pairs])
    if chosen.users != "all":
        keep = np.isin(users, _some_users(users, chosen.users))
        users, items = users[keep], items[keep]
    users, items = _five_core(users, items)
    order = np.argsort(users, kind="stable")
    users, items = np.unique(users[order], return_inverse=True)[1], np.unique(items[order], return_inverse=True)[1]
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    return _split(name, np.split(items.astype(np.int32), starts[1:]), int(items.max()) + 1)


def _split(name: str, histories: list[np.ndarray], items: int) -> TrainingSet:
    """Training histories without the last three items: one nobody sees, one to judge by, one to stop by."""
    everyone = np.arange(len(histories), dtype=np.int32)
    return TrainingSet(
        dataset=name,
        item_ids=np.array([f"{item:08d}" for item in range(items)], dtype="S8"),
        user_ids=np.array([f"{user:08d}" for user in everyone], dtype="S8"),
        train=Sequences.from_lists([history[:-3] for history in histories]),
        validation_users=everyone,
        validation_targets=np.array([history[-3] for history in histories], dtype=np.int32),
        test_users=everyone,
        test_targets=np.array([history[-2] for history in histories], dtype=np.int32),
        protocol={"rule": "the last item dropped, the one before it judged, the one before that to stop by"},
    )


def _of_saved(name: str, saved: TrainingSet) -> TrainingSet:
    rows = [np.asarray(saved.train[row]) for row in range(saved.users)]
    # one more at the end of each, to be dropped in place of the test items that are not there
    return _split(name, [np.append(row, row[-1:]) for row in rows if len(row) >= _LEAST - 1], saved.items)


def _five_core(users: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    while True:
        keep = (np.bincount(users)[users] >= _LEAST) & (np.bincount(items)[items] >= _LEAST)
        if keep.all():
            return users, items
        users, items = users[keep], items[keep]


def _some_users(users: np.ndarray, which: str) -> np.ndarray:
    found, counts = np.unique(users, return_counts=True)
    if which == "longest":
        return found[np.argsort(-counts, kind="stable")[:_USERS_OF_A_SAMPLE]]
    return np.random.default_rng(0).choice(found, _USERS_OF_A_SAMPLE, replace=False)


def _numbered(names: list[str]) -> np.ndarray:
    return np.unique(np.array(names), return_inverse=True)[1]


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from file


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """``user item`` a line, in order."""
    for line in _lines(path):
        user, item = line.split()
        yield user, item


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """``user item item ...`` a line, in order."""
    for line in _lines(path):
        user, *items = line.split()
        yield from ((user, item) for item in items)


def _atomic(path: Path) -> Iterator[tuple[str, str]]:
    """RecBole's atomic file: a header, then user, item, rating and time, not in order."""
    rows = [line.split("\t") for line in _lines(path)][1:]
    yield from ((row[0], row[1]) for row in sorted(rows, key=lambda row: float(row[3])))


def _reviews(path: Path) -> Iterator[tuple[str, str]]:
    """Amazon's JSON lines."""
    rows = [json.loads(line) for line in _lines(path)]
    yield from ((row["reviewerID"], row["asin"]) for row in sorted(rows, key=lambda row: row["unixReviewTime"]))


DEFAULT_SETS = {
    "industrial": DefaultSet(
        "Amazon Industrial and Scientific 2018", "Industrial_and_Scientific_5.json.gz", _reviews, exclude_seen=False
    ),
    "toys": DefaultSet("Amazon Toys and Games 2014", "Toys_and_Games.txt.gz", _rows),
    "video_games": DefaultSet("Amazon Video Games 2014", "Video.txt.gz", _pairs),
    "video_games_long": DefaultSet(
        "Amazon Video Games 2014, the 1,000 longest histories", "Video.txt.gz", _pairs, users="longest"
    ),
    "ml100k": DefaultSet("MovieLens-100K", "ml-100k.inter.gz", _atomic),
    "ml1m_1000": DefaultSet("MovieLens-1M, 1,000 users", "ml-1m.txt.gz", _pairs, users="sample"),
}
