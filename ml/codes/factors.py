"""Factors of the items: a truncated SVD of the training interactions."""

from __future__ import annotations

import numpy as np

from ml.data.training_set import Sequences


def item_factors(histories: Sequences, items: int, factors: int, seed: int) -> np.ndarray:
    """Right singular vectors of the user-item matrix of counts, largest first, float64 ``[factors, items]``;
    fewer where the matrix has fewer rows or columns.

    Repeated interactions sum. The vectors are not scaled by their singular values (as published). Run on one
    thread, since the number of threads changes last bits and so, rarely, a code.
    """
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import TruncatedSVD
    from threadpoolctl import threadpool_limits

    rows = np.repeat(np.arange(len(histories)), histories.lengths)
    ones = np.ones(len(histories.items))
    matrix = csr_matrix((ones, (rows, histories.items)), shape=(len(histories), items))
    if items == 1:
        return np.ones((1, 1))  # scikit-learn takes no matrix of one column
    svd = TruncatedSVD(n_components=min(factors, *matrix.shape), random_state=seed)
    with threadpool_limits(limits=1):
        svd.fit(matrix)
    return svd.components_
