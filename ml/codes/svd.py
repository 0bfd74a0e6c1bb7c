"""RecJPQ's assignment by truncated SVD: items that the same users have get like codes.

Petrov and Macdonald, "RecJPQ: Training Large-Catalogue Sequential Recommenders", WSDM 2024, section 4.1. The
user-item matrix of interaction counts is factorised with as many factors as there are code books; each factor
orders the items, and 256 equally full bins of that order are the codes of its book.
"""

from __future__ import annotations

import numpy as np

from ml.codes.codes import Codes, check_assignable, quality_report
from ml.codes.quantiles import quantise_factors
from ml.data.training_set import Sequences, TrainingSet


def assign_svd_codes(training_set: TrainingSet, books: int = 8, seed: int = 0) -> Codes:
    """Codes from the training histories alone: held-out targets are not read.

    Bins are those of :func:`ml.codes.quantiles.quantise_factors`. An item in no training history has factors of
    zero and nothing but the noise of the bins. A matrix with fewer users or items than ``books`` has fewer
    factors: the books beyond them hold noise alone, so their codes are random, and the report says how many
    there are.

    Args:
        training_set: whose histories are factorised.
        books: code books, ``m`` of the paper.
        seed: of the SVD's random start and of the noise.

    Raises:
        ValueError: books is below 1, or the training histories are empty.
    """
    check_assignable(training_set, books)
    factors = item_factors(training_set.train, training_set.items, books, seed)
    found = len(factors)
    values = quantise_factors(np.concatenate([factors, np.zeros((books - found, training_set.items))]), seed)
    report = quality_report(values, training_set.train) | {"factors": found, "random_books": books - found}
    return Codes(values, {"name": "truncated SVD", "books": books, "seed": seed}, report)


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
