"""Factors of the items: a truncated SVD of the training interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.data.sequences import Sequences

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def item_factors(histories: Sequences, items: int, factors: int, seed: int) -> np.ndarray:
    """Right singular vectors of the user-item matrix of counts, largest first, float64 ``[factors, items]``;
    fewer where the matrix has fewer rows or columns.

    Repeated interactions sum. The vectors are not scaled by their singular values (as published). Run on one
    thread, since the number of threads changes last bits and so, rarely, a code.
    """
    if items == 1:
        return np.ones((1, 1))  # scikit-learn takes no matrix of one column
    return truncated_svd(interaction_matrix(histories, items), factors, seed)[0]


def interaction_matrix(histories: Sequences, items: int) -> csr_matrix:
    """How often each user interacted with each item, sparse float64 ``[users, items]``."""
    from scipy.sparse import csr_matrix

    rows = histories.row_of_each
    return csr_matrix((np.ones(len(histories.items)), (rows, histories.items)), shape=(len(histories), items))


def truncated_svd(matrix: csr_matrix, factors: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Right singular vectors of a matrix of two or more columns, largest first, float64 ``[factors, columns]``, and
    their singular values; fewer where the matrix has fewer rows or columns. Run on one thread: see
    :func:`item_factors`."""
    from sklearn.decomposition import TruncatedSVD
    from threadpoolctl import threadpool_limits

    svd = TruncatedSVD(n_components=min(factors, *matrix.shape), random_state=seed)
    # the share of variance that it explains, which nobody reads, is 0 / 0 where all rows are equal
    with threadpool_limits(limits=1), np.errstate(invalid="ignore"):
        svd.fit(matrix)
    return svd.components_, svd.singular_values_
