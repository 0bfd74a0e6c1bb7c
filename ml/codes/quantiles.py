"""From factors of the items to codes: equally full bins of the order in which a factor puts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.codes.codes import CODES_PER_BOOK, code_type

_NOISE_DEVIATION = 1e-5


def quantise_factors(factors: np.ndarray, seed: int, book_sizes: Sequence[int] | None = None) -> np.ndarray:
    """Codes of all items, one book a factor.

    A factor is scaled to [0, 1], and normal noise of deviation 1e-5 is added so that no two items tie. A catalogue
    of fewer items than a book has codes uses as many codes as it has items. Petrov and Macdonald, "RecJPQ", WSDM 2024,
    section 4. Against the authors' code: the rows of padding and mask take no part, and the seed is fixed.

    Args:
        factors: ``[books, items]``; a constant one gives random codes.
        seed: of the noise.
        book_sizes: codes of each book; 256 where it is not given, as published.

    Returns:
        uint8 ``[items, books]``, uint16 where a book is larger than 256.
    """
    books, items = factors.shape
    sizes = book_sizes or [CODES_PER_BOOK] * books
    values = np.zeros((items, books), dtype=code_type(sizes))
    noise = np.random.default_rng(seed)
    for book, column in enumerate(factors):
        lowest, highest = column.min(), column.max()
        scaled = (column - lowest) / (highest - lowest) if highest > lowest else np.zeros_like(column)
        scaled += noise.normal(0, _NOISE_DEVIATION, items)
        values[:, book] = quantile_bins(scaled, sizes[book])
    return values


def quantile_bins(values: np.ndarray, bins: int) -> np.ndarray:
    """Which of ``bins`` equally full bins each value falls into, int64, from 0.

    Edges are linearly interpolated quantiles, a value on an edge belongs to the bin above: scikit-learn's
    ``KBinsDiscretizer(strategy="quantile", quantile_method="linear")``. Fewer values than bins: one bin for
    each value.
    """
    bins = min(bins, len(values))
    edges = np.quantile(values, np.linspace(0, 1, bins + 1))
    return np.searchsorted(edges[1:-1], values, side="right")
