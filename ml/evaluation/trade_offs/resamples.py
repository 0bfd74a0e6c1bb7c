"""Means and hypervolumes of series, over the test users and over resamples of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ml.beyond_accuracy.fronts import hypervolumes
from ml.evaluation.intervals import CONFIDENCE, Interval
from ml.evaluation.trade_offs.series import MeasuredSeries

# drawn counts of users that are held at a time
_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class Means:
    """Means over the test users: over the seeds too, float64 ``[tradeoffs]``, and for each seed, ``[seeds,
    tradeoffs]``."""

    ndcg: np.ndarray
    value: np.ndarray
    by_seed: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, one: MeasuredSeries) -> Means:
        value = np.nanmean(one.value, axis=2)
        return cls(one.ndcg.mean(axis=(0, 2)), value.mean(axis=0), (one.ndcg.mean(axis=2), value))


@dataclass(eq=False)
class Resampled:
    """A series on resampled users: means over the seeds, float64 ``[resamples, tradeoffs]``, and hypervolumes of each
    seed, ``[resamples, seeds]``."""

    ndcg: np.ndarray
    value: np.ndarray
    of_seeds: np.ndarray

    @classmethod
    def empty(cls, one: MeasuredSeries, resamples: int) -> Resampled:
        seeds, tradeoffs, _ = one.ndcg.shape
        return cls(*(np.empty((resamples, size)) for size in (tradeoffs, tradeoffs, seeds)))

    def fill(
        self, rows: slice, counts: np.ndarray, one: MeasuredSeries, sign: int, corner: tuple[float, float]
    ) -> None:
        """The resamples ``rows``, in which each user was drawn ``counts`` times, float64 ``[resamples, users]``."""
        seeds, tradeoffs, users = one.ndcg.shape
        shape = (len(counts), seeds, tradeoffs)
        is_defined = ~np.isnan(one.value)
        # the last bits of a product depend on the number of threads
        with threadpool_limits(limits=1):
            ndcg = (counts @ one.ndcg.reshape(-1, users).T / users).reshape(shape)
            sums = counts @ np.where(is_defined, one.value, 0).reshape(-1, users).T
            drawn = counts @ is_defined.reshape(-1, users).T.astype(np.float64)
        # where a resample has no user that the goal is defined for: the mean of all users, which moves no bound
        overall = np.nanmean(one.value, axis=2).reshape(-1)
        value = np.where(drawn > 0, sums / np.maximum(drawn, 1), overall).reshape(shape)
        self.ndcg[rows], self.value[rows] = ndcg.mean(axis=1), value.mean(axis=1)
        points = np.stack([ndcg, sign * value], axis=-1).reshape(-1, tradeoffs, 2)
        self.of_seeds[rows] = hypervolumes(points, corner).reshape(len(counts), seeds)

    def areas(self, seed: int) -> np.ndarray:
        """Hypervolumes, mean over resampled seeds, float64 ``[resamples]``; the same draws for as many seeds."""
        resamples, seeds = self.of_seeds.shape
        drawn = np.random.default_rng([seed, seeds]).integers(0, seeds, (resamples, seeds))
        return np.take_along_axis(self.of_seeds, drawn, axis=1).mean(axis=1)


def drawn_users(users: int, seed: int, resamples: int) -> Iterator[tuple[slice, np.ndarray]]:
    """How often each user is drawn, float64 ``[some resamples, users]``, with the places of these resamples."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // max(1, users))
    for start in range(0, resamples, at_once):
        stop = min(start + at_once, resamples)
        counts = np.empty((stop - start, users))
        for row in counts:
            row[:] = np.bincount(generator.integers(0, users, users), minlength=users)
        yield slice(start, stop), counts


def percentile_interval(mean: float, drawn: np.ndarray) -> Interval:
    """A mean with the percentile interval of its resampled values, float64 ``[resamples]``."""
    drawn = drawn[np.isfinite(drawn)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (mean, mean)
    return Interval(mean, float(low), float(high))
