"""Figures of a candidate beside its accuracy: what it lists, how large it is, how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.recommender import NO_ITEM

# of the rank-biased overlap: how far down a list a reader goes on to the next rank
PERSISTENCE = 0.9
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
    """Mean share of the items that two lists of one user have in common; of the longer list where they differ.

    Args:
        lists: item indices without repetition within a row, int ``[users, k]``.
        others: of the same users in the same order.
    """
    length = np.maximum((lists != NO_ITEM).sum(axis=1), (others != NO_ITEM).sum(axis=1))
    common = _agreements(lists, others)[:, -1]
    return float(np.divide(common, length, out=np.ones(len(lists)), where=length > 0).mean())


def rank_biased_overlap(lists: np.ndarray, others: np.ndarray, persistence: float = PERSISTENCE) -> float:
    """Mean rank-biased overlap of two lists of one user, extrapolated from depth k: 1 for equal lists, 0 for lists
    without a common item.

    ``A_k p^k + (1 - p) / p * sum_d A_d p^d``, with ``A_d`` the share of common items among the first d of both.

    Source: Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", ACM Transactions on Information
    Systems 28(4), 2010, equation 23.

    Args:
        lists: item indices without repetition within a row, int ``[users, k]``.
        others: of the same users in the same order.
        persistence: p of the definition.
    """
    depth = np.arange(1, lists.shape[1] + 1)
    agreement = _agreements(lists, others) / depth
    weights = persistence**depth
    seen = agreement @ weights * (1 - persistence) / persistence
    return float((agreement[:, -1] * weights[-1] + seen).mean())


def _agreements(lists: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Common items among the first 1, 2, ... k of both lists, int ``[users, k]``."""
    if lists.shape != others.shape:
        raise ValueError(f"lists are of the same users and length, not {lists.shape} and {others.shape}")
    common = np.zeros(lists.shape, dtype=np.int64)
    for depth in range(1, lists.shape[1] + 1):
        first, second = lists[:, :depth], others[:, :depth]
        equal = (first[:, :, None] == second[:, None, :]) & (first[:, :, None] != NO_ITEM)
        common[:, depth - 1] = equal.any(axis=2).sum(axis=1)
    return common


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
