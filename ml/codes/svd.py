"""RecJPQ's assignment by truncated SVD: items that the same users have get like codes.

Petrov and Macdonald, "RecJPQ: Training Large-Catalogue Sequential Recommenders", WSDM 2024, section 4.1. The
user-item matrix of interaction counts is factorised with as many factors as there are code books; each factor
orders the items, and 256 equally full bins of that order are the codes of its book.
"""

from __future__ import annotations

import numpy as np

from ml.codes.codes import CODES_PER_BOOK, Codes, quality_report
from ml.data.training_set import Sequences, TrainingSet

_NOISE_DEVIATION = 1e-5


def assign_svd_codes(training_set: TrainingSet, books: int = 8, seed: int = 0) -> Codes:
    """Codes from the training histories alone: held-out targets are not read.

    A factor is scaled to [0, 1], and normal noise of deviation 1e-5 is added so that no two items tie. An item
    in no training history has nothing but that noise. A matrix with fewer users or items than ``books`` has
    fewer factors: the books beyond them hold noise alone, so their codes are random, and the report says how
    many there are. A catalogue of fewer than 256 items uses as many codes a book as it has items.

    Against the authors' code: the rows of padding and mask take no part in the bins, and the seed is fixed.

    Args:
        training_set: whose histories are factorised.
        books: code books, ``m`` of the paper.
        seed: of the SVD's random start and of the noise.

    Raises:
        ValueError: books is below 1, or the training histories are empty.
    """
    if books < 1:
        raise ValueError(f"books must be at least 1, not {books}")
    if len(training_set.train.items) == 0:
        raise ValueError(f"the training histories of {training_set.dataset} are empty: no codes can be assigned")
    factors = item_factors(training_set.train, training_set.items, books, seed)
    values = np.zeros((training_set.items, books), dtype=np.uint8)
    noise = np.random.default_rng(seed)
    for book in range(books):
        column = factors[book] if book < len(factors) else np.zeros(training_set.items)
        lowest, highest = column.min(), column.max()
        scaled = (column - lowest) / (highest - lowest) if highest > lowest else np.zeros_like(column)
        scaled += noise.normal(0, _NOISE_DEVIATION, len(scaled))
        values[:, book] = quantile_bins(scaled, CODES_PER_BOOK)
    counts = np.bincount(training_set.train.items, minlength=training_set.items)
    report = quality_report(values, counts) | {"factors": len(factors), "random_books": books - len(factors)}
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


def quantile_bins(values: np.ndarray, bins: int) -> np.ndarray:
    """Which of ``bins`` equally full bins each value falls into, int64, from 0.

    Edges are linearly interpolated quantiles, a value on an edge belongs to the bin above: scikit-learn's
    ``KBinsDiscretizer(strategy="quantile", quantile_method="linear")``. Fewer values than bins: one bin for
    each value.
    """
    bins = min(bins, len(values))
    edges = np.quantile(values, np.linspace(0, 1, bins + 1))
    return np.searchsorted(edges[1:-1], values, side="right")
