"""Counts of the training interactions, and lists that end with the most popular items."""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.top_k import tie_break_order


def item_counts(training_set: TrainingSet) -> np.ndarray:
    """Training interactions of each item, int64 ``[items]``."""
    return np.bincount(training_set.train.items, minlength=training_set.items).astype(np.int64)


def popularity_shares(counts: np.ndarray) -> np.ndarray:
    """Each item's share of the training interactions, float64 ``[items]``; 0 where there are none at all."""
    return counts / max(1, counts.sum())


def popularity_order(counts: np.ndarray) -> np.ndarray:
    """Items by falling count, equal counts by the tie rule of :mod:`ml.retrieval.top_k`, int64 ``[items]``."""
    ties = tie_break_order(len(counts))
    return ties[np.argsort(-counts[ties], kind="stable")]


def fill_by_popularity(
    preferred: np.ndarray,
    preferred_scores: np.ndarray,
    histories: Sequences,
    k: int,
    exclude_seen: bool,
    order: np.ndarray,
    scores: np.ndarray,
) -> Recommendations:
    """Lists that start with preferred items and go on with the most popular of the others.

    Only as much of the popularity order is looked at as a list can need, so the cost does not grow with the
    catalogue.

    Args:
        preferred: items to start with, best first, no item twice in a row, ``NO_ITEM`` at the end of short
            rows, ``[rows, width]``.
        preferred_scores: their scores, ``[rows, width]``.
        histories: one a row.
        k: length of the lists.
        exclude_seen: whether the items of a row's own history are left out.
        order: :func:`popularity_order`, ``[items]``.
        scores: score of each item as a filling one, ``[items]``; below every preferred score of a row.
    """
    rows = len(preferred)
    items = len(order)
    longest = int(histories.lengths.max(initial=0)) if exclude_seen else 0
    # one of these is passed over only where it was seen, or stands in the list already
    filling = order[: min(items, k + longest)]
    place = np.full(items, len(filling))
    place[filling] = np.arange(len(filling))

    # one column more than the filling: where items that are not in it are marked, to no effect
    free = np.ones((rows, len(filling) + 1), dtype=bool)
    free[:, -1] = False
    wanted = preferred != NO_ITEM
    row_of_preferred = np.nonzero(wanted)[0]
    free[row_of_preferred, place[preferred[wanted]]] = False
    if exclude_seen:
        row_of_seen = np.repeat(np.arange(rows), histories.lengths)
        free[row_of_seen, place[histories.items]] = False
        seen = np.isin(row_of_preferred * items + preferred[wanted], row_of_seen * items + histories.items)
        wanted[wanted] = ~seen

    keep = np.concatenate([wanted, free[:, :-1]], axis=1)
    rank = np.cumsum(keep, axis=1) - 1
    row, column = np.nonzero(keep & (rank < k))
    candidates = np.concatenate([preferred, np.broadcast_to(filling, (rows, len(filling)))], axis=1)
    candidate_scores = np.concatenate(
        [preferred_scores, np.broadcast_to(scores[filling], (rows, len(filling)))], axis=1
    )
    answer = Recommendations(np.full((rows, k), NO_ITEM, dtype=np.int32), np.full((rows, k), -np.inf, dtype=np.float32))
    answer.items[row, rank[row, column]] = candidates[row, column]
    answer.scores[row, rank[row, column]] = candidate_scores[row, column]
    return answer
