"""Distances between two distributions or two rankings, each as one figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ml.data import list_overlap

# Shares below it count as this much, so that a bin that is empty on one side gives a finite index.
LEAST_SHARE = 1e-4
# The first fifty ranks have some 86 % of the weight.
PERSISTENCE = 0.98


def total_variation(before: Mapping[str, int], now: Mapping[str, int]) -> float | None:
    """Half the sum of the absolute differences of shares: the share that has moved, 0 to 1.

    ``None`` where one side has no counts; so for all distances of this module.
    """
    shares = _shares(before, now)
    return None if shares is None else sum(abs(present - earlier) for earlier, present in shares) / 2


def population_stability_index(before: Mapping[str, int], now: Mapping[str, int]) -> float | None:
    """Sum of ``(now - before) * ln(now / before)`` over the bins: 0 for equal shares, without an upper limit.

    By custom, below .1 is stable and above .25 is another population. Shares below :data:`LEAST_SHARE` count as that.
    """
    shares = _shares(before, now)
    if shares is None:
        return None
    bounded = ((max(earlier, LEAST_SHARE), max(present, LEAST_SHARE)) for earlier, present in shares)
    return sum((present - earlier) * math.log(present / earlier) for earlier, present in bounded)


def kolmogorov_smirnov(before: Mapping[str, int], now: Mapping[str, int]) -> float | None:
    """Largest difference of the two cumulative distributions, 0 to 1; the names of the bins are whole numbers."""
    if not sum(before.values()) or not sum(now.values()):
        return None
    rows, earlier_rows = sum(now.values()), sum(before.values())
    largest = seen = earlier_seen = 0.0
    for value in sorted(before.keys() | now.keys(), key=int):
        seen += now.get(value, 0)
        earlier_seen += before.get(value, 0)
        largest = max(largest, abs(seen / rows - earlier_seen / earlier_rows))
    return largest


def rank_biased_overlap(before: Sequence[str], now: Sequence[str], persistence: float = PERSISTENCE) -> float | None:
    """Extrapolated rank-biased overlap of two rankings without ties, 0 (disjoint) to 1 (equal): that of
    :func:`ml.data.list_overlap.rank_biased_overlap`; of rankings of different lengths the shorter length counts.

    Args:
        before: identities, the first rank first.
        now: the same of the other ranking.
        persistence: probability that a reader goes on from one rank to the next.
    """
    depth = min(len(before), len(now))
    if depth == 0:
        return None
    number = {name: place for place, name in enumerate(dict.fromkeys((*before, *now)))}
    one, other = (np.array([[number[name] for name in ranking[:depth]]]) for ranking in (before, now))
    return float(list_overlap.rank_biased_overlap(one, other, persistence)[0])


def _shares(before: Mapping[str, int], now: Mapping[str, int]) -> list[tuple[float, float]] | None:
    """Share of each bin on both sides; ``None`` where one has no counts."""
    rows, earlier_rows = sum(now.values()), sum(before.values())
    if not rows or not earlier_rows:
        return None
    bins = sorted(before.keys() | now.keys())
    return [(before.get(name, 0) / earlier_rows, now.get(name, 0) / rows) for name in bins]
