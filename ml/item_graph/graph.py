"""The graph of the training histories: which items stood side by side, how often, and in which order.

Every recommender that counts pairs of neighbouring items counts them here.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.histories import last_items
from ml.recommender import NO_ITEM, Recommendations


def transitions(training_set: TrainingSet) -> sparse.csr_matrix:
    """Counts of direct successions of items in training histories, int64 ``[before, after]``.

    A history's repeated item comes after itself. Held-out targets make no edge.
    """
    items, train = training_set.items, training_set.train
    row = train.row_of_each
    within = np.flatnonzero(row[1:] == row[:-1])
    pairs = (train.items[within], train.items[within + 1])
    counts = sparse.csr_matrix((np.ones(len(within), dtype=np.int64), pairs), shape=(items, items))
    counts.sum_duplicates()
    return counts


def neighbours(training_set: TrainingSet) -> sparse.csr_matrix:
    """Counts of adjacent items in training histories, in either order, int64 ``[items, items]``, symmetric.

    An item beside itself counts twice, once from either side.
    """
    directed = transitions(training_set)
    counts = (directed + directed.T).tocsr()
    counts.sum_duplicates()
    return counts


def row_totals(counts: sparse.csr_matrix) -> np.ndarray:
    """The sum of each row, ``[rows]``, at least 1 so that it can be divided by."""
    return np.maximum(1, np.asarray(counts.sum(axis=1)).ravel())


def probabilities(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Each row divided by its sum, float64; rows of nothing stay as they are."""
    shares = counts.data / np.repeat(row_totals(counts), np.diff(counts.indptr))
    return sparse.csr_matrix((shares, counts.indices, counts.indptr), shape=counts.shape)


def places(order: np.ndarray) -> np.ndarray:
    """Position of each item in an order of all items, int64 ``[items]``."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place


def best_first(matrix: sparse.csr_matrix, place: np.ndarray) -> np.ndarray:
    """The order of the stored values in which each row's are falling, equal ones by the place of their column.

    Args:
        matrix: ``[rows, items]``.
        place: :func:`places` of the order that breaks ties, ``[items]``.

    Returns:
        indices into ``matrix.data``, int64 ``[stored values]``; the rows stay where they are.
    """
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return np.lexsort((place[matrix.indices], -matrix.data, row))


def best_reached(scores: sparse.csr_matrix, k: int, order: np.ndarray, seen: Sequences | None) -> Recommendations:
    """The k best items of each row by their score, the others after them with score 0.

    Scores are compared on a grid of 2^-40 (coarser in catalogues of more than a million items): sums of the same terms
    in another order differ in the last bits, and must not break a tie.

    Args:
        scores: not negative, below 4, ``[rows, items]``; what is not stored was not reached.
        k: length of the lists.
        order: breaks ties, among the items that were not reached too, ``[items]``.
        seen: histories whose items are left out, ``[rows]``; ``None``: nothing is.
    """
    rows, items = scores.shape
    place_bits = max(1, items).bit_length()
    grid = 2.0 ** min(40, 60 - place_bits)
    # one integer for (score, place), so that one partition finds the best
    keys = np.empty((rows, items), dtype=np.int64)
    keys[:] = items - 1 - places(order)
    row = np.repeat(np.arange(rows), np.diff(scores.indptr))
    keys[row, scores.indices] += np.rint(scores.data * grid).astype(np.int64) << place_bits
    if seen is not None:
        keys[np.repeat(np.arange(rows), seen.lengths), seen.items] = -1
    depth = min(k, items)
    best = np.full((rows, k), -1, dtype=np.int64)
    keys.partition(items - depth, axis=1)
    best[:, :depth] = np.sort(keys[:, items - depth :], axis=1)[:, ::-1]
    winners = order[items - 1 - (best & ((1 << place_bits) - 1)).clip(max=items - 1)]
    return Recommendations(
        np.where(best < 0, NO_ITEM, winners).astype(np.int32),
        np.where(best < 0, -np.inf, (best >> place_bits) / grid).astype(np.float32),
    )


def start_at(histories: Sequences, weights: tuple[float, ...], items: int) -> sparse.csr_matrix:
    """Start distribution of a walk: the last items of each history, float64 ``[rows, items]``.

    Args:
        histories: ``[rows]``.
        weights: of the last item, of the one before it, and so on; an item that stands there twice has both.
        items: size of the catalogue.
    """
    rows = len(histories)
    found = np.stack([last_items(histories, place) for place in range(1, len(weights) + 1)], axis=1)
    row, back = np.nonzero(found != NO_ITEM)
    start = sparse.csr_matrix((np.asarray(weights)[back], (row, found[row, back])), shape=(rows, items))
    start.sum_duplicates()
    return start


def graph_arrays(graph: sparse.csr_matrix) -> dict[str, np.ndarray]:
    """A graph as arrays to be saved."""
    return {"graph_neighbours": graph.indices, "graph_weights": graph.data, "graph_offsets": graph.indptr}


def graph_from_arrays(arrays: dict[str, np.ndarray]) -> sparse.csr_matrix:
    """Read what :func:`graph_arrays` gave."""
    items = len(arrays["graph_offsets"]) - 1
    parts = (arrays["graph_weights"], arrays["graph_neighbours"], arrays["graph_offsets"])
    return sparse.csr_matrix(parts, shape=(items, items))
