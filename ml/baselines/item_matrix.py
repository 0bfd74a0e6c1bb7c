"""The users by items matrix of the training histories, and items ranked by scores that are sums over a history."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from scipy import sparse

from ml.baselines.popularity import item_counts, popularity_order
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.graph import best_reached, graph_arrays, graph_from_arrays
from ml.item_graph.histories import check_request, in_blocks
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


class ItemToItem(ABC):
    """Ranks items by the sum of what each item of a history says of them; those that none leads to by popularity.

    Attributes:
        counts: training interactions of each item, int64 ``[items]``.
        matrix: what an item says of others, float64 ``[items, items]``, not negative: its row.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self.counts = np.empty(0, dtype=np.int64)
        self.matrix = sparse.csr_matrix((0, 0))

    @abstractmethod
    def pairs(self, training_set: TrainingSet) -> sparse.csr_matrix:
        """The matrix of a training set; :attr:`counts` are there."""

    def fit(self, training_set: TrainingSet) -> Self:
        """Compare all items that stand in one training history."""
        self.counts = item_counts(training_set)
        self.matrix = self.pairs(training_set)
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The items that those of the history lead to, then the most popular others."""
        items = len(self.counts)
        check_request(histories, k, items)
        order = popularity_order(self.counts)

        def answer(block: Sequences) -> Recommendations:
            scores = (history_matrix(block, items) @ self.matrix).tocsr()
            return best_by_sums(scores, k, order, block if exclude_seen else None)

        return in_blocks(histories, k, 4 * items + 2 * k, answer)

    def save(self, folder: Path) -> None:
        save_state(folder, self.name, {}, {"counts": self.counts, **graph_arrays(self.matrix)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        _, arrays = load_state(folder, cls.name)
        recommender = cls()
        recommender.counts = arrays["counts"]
        recommender.matrix = graph_from_arrays(arrays)
        return recommender
