"""Scores of different recommenders made comparable, list by list.

A dot product, a probability and a BM25 score have no common scale, and a list holds only the best items. So the
scores of each list are put on a scale of the list itself.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ml.recommender import NO_ITEM, Recommendations

Normalisation = Literal["reciprocal_rank", "min_max", "standardised", "softmax"]
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)
RECIPROCAL_RANK_OFFSET = 60


def normalised(lists: Recommendations, how: Normalisation) -> tuple[np.ndarray, np.ndarray]:
    """Scores on a scale of each list's own, and what an item that a list does not hold is given.

    - ``reciprocal_rank``: ``1 / (60 + rank)``, and 0 for what is not listed (Cormack, Clarke and Buettcher, "Reciprocal
      rank fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009). Scores are not looked at.
    - ``min_max``: from 0 for the lowest listed score to 1 for the highest (Lee, "Analyses of multiple evidence
      combination", SIGIR 1997).
    - ``standardised``: less the mean of the list, divided by its standard deviation (the z-score of Renda and Straccia,
      "Web metasearch: rank vs. score based rank aggregation methods", SAC 2003).
    - ``softmax``: the exponential of the standardised score, summing to 1 over the list, so that few high scores count
      for more than many middling ones.

    With the last three an item that is not listed is given what the lowest listed one has, for its score is at most
    that. Where all scores of a list are equal, they stay equal.

    Args:
        lists: of one recommender.
        how: one of :data:`NORMALISATIONS`.

    Returns:
        Values, float64 ``[rows, k]``, never rising within a row, the floor beside ``NO_ITEM``; and the floor, float64
        ``[rows]``. Both are 0 in a row without an item.

    Raises:
        ValueError: there is no such normalisation, or a listed score is not finite.
    """
    if how not in NORMALISATIONS:
        raise ValueError(f"no normalisation is called {how!r}; there are {', '.join(NORMALISATIONS)}")
    is_item = lists.items != NO_ITEM
    rows, columns = lists.items.shape
    if how == "reciprocal_rank":
        values = np.where(is_item, 1 / (RECIPROCAL_RANK_OFFSET + 1 + np.arange(columns)), 0.0)
        return values, np.zeros(rows)
    scores = np.where(is_item, lists.scores, 0).astype(np.float64)
    if not np.isfinite(scores).all():
        raise ValueError("a listed item has a score that is not finite, so the list cannot be normalised")
    listed = np.maximum(1, is_item.sum(axis=1, keepdims=True))
    lowest = np.where(is_item, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    lowest = np.where(np.isfinite(lowest), lowest, 0)
    highest = np.where(is_item, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    highest = np.where(np.isfinite(highest), highest, 0)
    scores = np.where(is_item, scores, lowest)
    if how == "min_max":
        values = _divided(scores - lowest, highest - lowest)
    else:
        # shifted first, so that the spread is not lost in large scores
        shifted = scores - highest
        mean = np.where(is_item, shifted, 0).sum(axis=1, keepdims=True) / listed
        deviation = np.sqrt((np.where(is_item, shifted - mean, 0) ** 2).sum(axis=1, keepdims=True) / listed)
        values = _divided(shifted - mean, deviation)
        if how == "softmax":
            values = np.exp(values - values.max(axis=1, keepdims=True, initial=-np.inf))
            values /= np.where(is_item, values, 0).sum(axis=1, keepdims=True).clip(min=1)
    values = np.where(is_item.any(axis=1, keepdims=True), values, 0)
    return values, values.min(axis=1, initial=np.inf) if columns else np.zeros(rows)


def _divided(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Zero where there is nothing to divide by: the values are all equal then."""
    return np.divide(values, by, out=np.zeros_like(values), where=by > 0)
