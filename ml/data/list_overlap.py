"""How much two ranked lists have in common. Needs numpy alone."""

from __future__ import annotations

import numpy as np

# of the rank-biased overlap: the probability that a reader goes on from one rank to the next
PERSISTENCE = 0.9


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Share of items that two lists have in common, whatever their order, float64 ``[users]``.

    The share is of the longer list; two empty lists are equal.

    Args:
        one: item numbers, best first, no item twice; negative ones (:data:`ml.recommender.NO_ITEM`) after the end,
            int ``[users, length]``.
        other: the same of the other run, for the same users.
    """
    longer = np.maximum(_lengths(one), _lengths(other))
    return np.where(longer == 0, 1.0, _common(one, other)[:, -1, -1] / np.maximum(longer, 1))


def rank_biased_overlap(one: np.ndarray, other: np.ndarray, persistence: float = PERSISTENCE) -> np.ndarray:
    """Rank-biased overlap of two lists, extrapolated beyond their ends, float64 ``[users]``, from 0 to 1.

    Equal lists have 1, lists without a common item 0, and a difference counts the more the higher it stands: with
    ``persistence`` .9 the first ten ranks bear 86 % of the weight. The extrapolated form assumes that the agreement
    seen at the end goes on. Lists may be of different lengths; two empty ones are equal.

    Args:
        one: as in :func:`overlaps`.
        other: as in :func:`overlaps`.
        persistence: above 0 and below 1.

    Source: Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", ACM TOIS 28(4), 2010, equation 32.
    """
    depth = np.arange(1, one.shape[1] + 1)
    lengths = np.stack([_lengths(one), _lengths(other)])
    short, long = lengths.min(axis=0), lengths.max(axis=0)
    # a list that has ended adds no item, so the common ones at each depth are counted as they stand
    shared = np.einsum("udd->ud", _common(one, other)).astype(np.float64)
    users = np.arange(len(one))
    at_short = np.where(short > 0, shared[users, np.maximum(short, 1) - 1], 0.0)
    at_long = np.where(long > 0, shared[users, np.maximum(long, 1) - 1], 0.0)
    agreement = at_short / np.maximum(short, 1)
    weights = persistence**depth
    seen = (shared / depth * weights * (depth <= long[:, None])).sum(axis=1)
    beyond = (depth > short[:, None]) & (depth <= long[:, None])
    assumed = (agreement[:, None] * (depth - short[:, None]) / depth * weights * beyond).sum(axis=1)
    at_end = ((at_long - at_short) / np.maximum(long, 1) + agreement) * persistence**long
    found = (1 - persistence) / persistence * (seen + assumed) + at_end
    return np.where(long == 0, 1.0, np.clip(found, 0.0, 1.0))


def _lengths(lists: np.ndarray) -> np.ndarray:
    return (lists >= 0).sum(axis=1)


def _common(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Common items of the first i of one and the first j of the other list, int ``[users, length, length]``."""
    same = (one[:, :, None] == other[:, None, :]) & (one >= 0)[:, :, None]
    return same.cumsum(axis=1).cumsum(axis=2)
