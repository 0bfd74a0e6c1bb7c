"""The users by items matrix of the training histories, and items ranked by scores that are sums over a history."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ml.data.training_set import Sequences, TrainingSet
from ml.item_graph.graph import best_reached
from ml.recommender import Recommendations

# scores are scaled to at most this before they are compared: see ml.item_graph.graph.best_reached
_HIGHEST = 2.0


def user_item_matrix(training_set: TrainingSet) -> sparse.csr_matrix:
    """Which items are in which training history, float64 of 0 and 1, ``[users, items]``."""
    return history_matrix(training_set.train, training_set.items)


def history_matrix(histories: Sequences, items: int) -> sparse.csr_matrix:
    """Which items are in which history, float64 of 0 and 1, ``[rows, items]``: how often and in which order does not
    count."""
    values = np.ones(len(histories.items))
    # copies, since scipy sorts the items of a row in place
    parts = (values, np.array(histories.items), np.array(histories.offsets))
    matrix = sparse.csr_matrix(parts, shape=(len(histories), items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def together(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """In how many rows two items are together, float64 ``[items, items]``, nothing on the diagonal."""
    counts = (matrix.T @ matrix).tocsr()
    counts.setdiag(0)
    counts.eliminate_zeros()
    counts.sort_indices()
    return counts


def strongest(matrix: sparse.csr_matrix, kept: int, place: np.ndarray) -> sparse.csr_matrix:
    """The largest values of each row, equal ones by the place of their column.

    Args:
        matrix: ``[rows, columns]``.
        kept: values of a row, at most.
        place: of each column in the order that breaks ties, ``[columns]``.
    """
    lengths = np.diff(matrix.indptr)
    row = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((place[matrix.indices], -matrix.data, row))
    rank = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], lengths)
    chosen = order[rank < kept]
    parts = (matrix.data[chosen], (row[chosen], matrix.indices[chosen]))
    return sparse.csr_matrix(parts, shape=matrix.shape)


def best_by_sums(scores: sparse.csr_matrix, k: int, order: np.ndarray, seen: Sequences | None) -> Recommendations:
    """:func:`ml.item_graph.graph.best_reached` for scores of any size that are not negative; they are given back as
    they were."""
    highest = np.asarray(scores.max(axis=1).todense()).ravel() if scores.nnz else np.zeros(scores.shape[0])
    highest[highest <= 0] = 1.0
    scaled = sparse.csr_matrix(scores)
    scaled.data = scores.data * np.repeat(_HIGHEST / highest, np.diff(scores.indptr))
    ranked = best_reached(scaled, k, order, seen)
    return Recommendations(ranked.items, (ranked.scores * (highest / _HIGHEST)[:, None]).astype(np.float32))
