"""Bootstrap confidence intervals of means over users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95
# up to this many distinct values all are kept as they are; of more, the commonest, and an even grid for the others
_DISTINCT = 512
# of the draws that are held at a time
_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds of its interval."""

    mean: float
    low: float
    high: float


def bootstrap_interval(values: np.ndarray, seed: int, resamples: int = RESAMPLES) -> Interval:
    """The percentile bootstrap interval, at 95 %, of a mean over users.

    For a paired comparison of two recommenders give the differences of their values, user by user; for several seeds
    of one recommender the mean over the seeds, user by user. Users are resampled, so the interval tells of the choice
    of users, not of the luck of a training seed.

    Metrics of one held-out item take few distinct values, and a resample of users is a multinomial draw of
    how often each of these occurs: the same distribution as drawing users one by one, at a cost that does not
    grow with their number. Where there are more than 512 distinct values (means over several seeds), the 256 commonest
    are kept, and each of the others is shared out between its neighbours among these and an even grid of 256, so that
    the mean stays what it is. That widens the interval, by far less than resampling leaves to chance: a value
    between two points that are d apart adds at most d²/4 to the variance.

    The order of the users does not change a bit of it. Memory is bounded, but for the distinct values.

    Args:
        values: one a user, float64 ``[users]``.
        seed: of the resampling.
        resamples: how many.

    Source: Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapter 13; for paired
    comparisons of rankings, Sakai, "Evaluating evaluation metrics based on the bootstrap", SIGIR 2006.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    if len(values) == 0:
        raise ValueError("an interval needs at least one user")
    if not np.isfinite(values).all():
        raise ValueError("an interval needs finite values")
    users = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) == 1:
        only = float(distinct[0])
        return Interval(only, only, only)
    mean = float((distinct * counts).sum() / users)
    points, weights = (distinct, counts) if len(distinct) <= _DISTINCT else _shared_out(distinct, counts)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    at_once = max(1, _AT_ONCE // len(points))
    for start in range(0, resamples, at_once):
        draws = generator.multinomial(users, weights / weights.sum(), size=min(at_once, resamples - start))
        means[start : start + at_once] = (draws * points).sum(axis=1) / users
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


def _shared_out(distinct: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fewer points of the same mean: ascending, and the weight of each.

    Args:
        distinct: values, ascending.
        counts: how often each occurs.
    """
    commonest = distinct[np.argsort(-counts, kind="stable")[: _DISTINCT // 2]]
    grid = np.linspace(distinct[0], distinct[-1], _DISTINCT // 2)
    points = np.unique(np.concatenate([commonest, grid]))
    above = np.clip(np.searchsorted(points, distinct, side="left"), 1, len(points) - 1)
    below, width = points[above - 1], points[above] - points[above - 1]
    upper = np.clip((distinct - below) / width, 0, 1) * counts
    weights = np.bincount(above, upper, len(points)) + np.bincount(above - 1, counts - upper, len(points))
    kept = weights > 0
    return points[kept], weights[kept]
