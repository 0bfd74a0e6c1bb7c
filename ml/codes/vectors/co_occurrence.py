"""Vectors of which items stand near one another in the training histories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.data.sequences import Sequences

if TYPE_CHECKING:
    from scipy import sparse

SECOND_NEIGHBOURS = 0.5
SELF = 0.5
_ITERATIONS = 10


def co_occurrences(histories: Sequences, items: int, distance: int) -> sparse.csr_matrix:
    """How often two different items stand at exactly this distance in a history, in either order.

    Returns:
        float64 ``[items, items]``, symmetric, without a diagonal.
    """
    from scipy import sparse

    found = np.asarray(histories.items)
    row = histories.row_of_each
    left, right = found[:-distance], found[distance:]
    pairs = (row[:-distance] == row[distance:]) & (left != right)
    directed = sparse.csr_matrix((np.ones(int(pairs.sum())), (left[pairs], right[pairs])), shape=(items, items))
    return (directed + directed.T).tocsr()


def graph_vectors(histories: Sequences, items: int, dimensions: int, seed: int) -> np.ndarray:
    """Spectral vectors of the graph of neighbours in the training histories.

    Left singular vectors times singular values of ``D^-1/2 A D^-1/2 + I / 2``, where ``A`` counts direct neighbours
    once and neighbours at distance two half, and ``D`` are its row sums: items whose neighbours lead to the same places
    lie near one another (von Luxburg, "A Tutorial on Spectral Clustering", Statistics and Computing 17, 2007). The
    half of the identity keeps singular values in the order of the eigenvalues.

    Args:
        histories: the training histories.
        items: of the catalogue.
        dimensions: how many, the largest singular values first.
        seed: of the randomised SVD's start.

    Returns:
        float64 ``[items, at most dimensions]``; zero for an item without a neighbour.
    """
    from scipy import sparse

    counts = co_occurrences(histories, items, 1) + SECOND_NEIGHBOURS * co_occurrences(histories, items, 2)
    degrees = np.asarray(counts.sum(axis=1)).ravel()
    scale = sparse.diags_array(_inverse_root(degrees))
    itself = sparse.diags_array(SELF * (degrees > 0))
    left, values = _decomposed(sparse.csr_matrix(scale @ counts @ scale + itself), dimensions, seed)
    return left * values


def ppmi_vectors(histories: Sequences, items: int, dimensions: int, window: int, seed: int) -> np.ndarray:
    """Factors of the positive pointwise mutual information of items within a window of the training histories.

    Left singular vectors times the roots of the singular values of ``max(0, log(n_ij n / (n_i n_j)))``: Levy, Goldberg
    and Dagan, "Improving Distributional Similarity with Lessons Learned from Word Embeddings", TACL 3 (2015).

    Args:
        histories: the training histories.
        items: of the catalogue.
        dimensions: how many, the largest singular values first.
        window: the largest distance of two items that counts.
        seed: of the randomised SVD's start.

    Returns:
        float64 ``[items, at most dimensions]``; zero for an item without a neighbour.
    """
    left, values = _decomposed(positive_mutual_information(histories, items, window), dimensions, seed)
    return left * np.sqrt(values)


def positive_mutual_information(histories: Sequences, items: int, window: int) -> sparse.csr_matrix:
    """``max(0, log(n_ij n / (n_i n_j)))`` of the counts of two different items within a window, ``[items, items]``."""
    counts = sum(
        (co_occurrences(histories, items, place) for place in range(2, window + 1)), co_occurrences(histories, items, 1)
    )
    counts = counts.tocoo()
    totals = np.asarray(counts.sum(axis=1)).ravel()
    information = np.log(counts.data * totals.sum() / (totals[counts.row] * totals[counts.col]))
    counts.data = np.maximum(0, information)
    positive = counts.tocsr()
    positive.eliminate_zeros()
    return positive


def _decomposed(matrix: sparse.csr_matrix, dimensions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors ``[items, dimensions]`` and singular values, on one thread."""
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    if matrix.nnz == 0:
        return np.zeros((matrix.shape[0], 0)), np.zeros(0)
    with threadpool_limits(limits=1):
        left, values, _ = randomized_svd(
            matrix, min(dimensions, matrix.shape[0]), n_iter=_ITERATIONS, random_state=seed
        )
    return left, values


def _inverse_root(values: np.ndarray) -> np.ndarray:
    return np.divide(1, np.sqrt(values), out=np.zeros_like(values), where=values > 0)
