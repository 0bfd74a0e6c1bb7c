"""Vectors as sums of one centroid of each book: what residual quantisers have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RESIDUAL = "residual"
"""``Codes.method["centroids"]`` of codes whose centroids, one of each book, add up to the vector of an item."""


def last_distances(residuals: np.ndarray, centres: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """``Codes.last_distances`` of a residual quantiser.

    Args:
        residuals: what is left of each item before the last book, ``[items, dimensions]``.
        centres: of the last book, ``[codes, dimensions]``.
    """
    from scipy.spatial.distance import cdist

    def distances(items: np.ndarray) -> np.ndarray:
        return cdist(residuals[items], centres, "sqeuclidean")

    return distances
