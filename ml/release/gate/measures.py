"""Figures of a candidate beside its accuracy: what it lists, how large it is, how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.data import list_overlap as list_overlaps
from ml.data.list_overlap import PERSISTENCE
from ml.recommender import NO_ITEM

# single histories that are timed, unless that takes longer than so many seconds for each recommender
TIMED, SECONDS, LEAST_TIMED = 64, 3.0, 5


def coverage(lists: np.ndarray, items: int) -> float:
    """Share of a catalogue that is in some list.

    Args:
        lists: item indices, int ``[users, k]``.
        items: size of the catalogue.
    """
    return len(np.unique(lists[lists != NO_ITEM])) / items


def list_overlap(lists: np.ndarray, others: np.ndarray) -> float:
    """Mean share of the items that two lists of one user have in common (:func:`ml.data.list_overlap.overlaps`)."""
    return float(list_overlaps.overlaps(lists, others).mean())


def rank_biased_overlap(lists: np.ndarray, others: np.ndarray, persistence: float = PERSISTENCE) -> float:
    """Mean rank-biased overlap of two lists of one user (:func:`ml.data.list_overlap.rank_biased_overlap`)."""
    return float(list_overlaps.rank_biased_overlap(lists, others, persistence).mean())


def size_on_disk(folder: Path, leave_out: str = "") -> int:
    """Bytes of all files in a folder.

    Args:
        folder: a bundle.
        leave_out: name of a folder in it that does not count.
    """
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in paths if path.relative_to(folder).parts[0] != leave_out)


@dataclass(frozen=True)
class Timings:
    """Milliseconds that each call took, by name of what was called."""

    milliseconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        return float(np.median(self.milliseconds[name]))


def time_in_turns(calls: Mapping[str, Callable[[int], object]], cases: int) -> Timings:
    """Time several functions on the same cases in turns, so that what else the machine does falls on all alike.

    Each is called once before, untimed. Takes at most :data:`TIMED` cases, and stops after :data:`SECONDS` for each
    function, but not before :data:`LEAST_TIMED` cases.

    Args:
        calls: functions of a case number, by name.
        cases: how many cases there are, at least one.
    """
    for call in calls.values():
        call(0)
    found: dict[str, list[float]] = {name: [] for name in calls}
    until = time.perf_counter() + SECONDS * len(calls)
    for case in range(min(cases, TIMED)):
        if case >= LEAST_TIMED and time.perf_counter() > until:
            break
        for name, call in calls.items():
            started = time.perf_counter()
            call(case)
            found[name].append(1000 * (time.perf_counter() - started))
    return Timings(found)
