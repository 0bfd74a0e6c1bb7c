"""Whitening: vectors whose directions all vary alike.

The vectors of an encoder vary in a few directions far more than in all others, and have a mean far from 0: their
cosines are all similar. A model that is trained on them learns the large directions first and the small ones hardly.
Whitened vectors have mean 0 and, in each direction, variance 1.

Sources: Su, Cao, Liu and Ou, "Whitening Sentence Representations for Better Semantics and Faster Retrieval",
arXiv 2103.15316; Zhang et al., "Are ID Embeddings Necessary? Whitening Pre-trained Text Embeddings for Effective
Sequential Recommendation", ICDE 2024, arXiv 2402.10602, for recommendation.
"""

from __future__ import annotations

import numpy as np

SHRINKAGE = 0.1
# a direction whose variance is less than this share of the largest, or than this, has none but by rounding
_LEAST_SHARE = 1e-10
_LEAST_VARIANCE = 1e-20


def whiten(vectors: np.ndarray, shrinkage: float = SHRINKAGE) -> np.ndarray:
    """Vectors in the directions of their principal components, each divided by its standard deviation.

    The covariance is that of the rows that are not zero, divided by their number, and is shrunk before it is inverted:
    ``(1 - shrinkage) * covariance + shrinkage * mean variance * identity`` (Ledoit and Wolf, Journal of Multivariate
    Analysis 88, 2004). Directions that hardly vary, which are mostly noise, are so not blown up to the size of the
    others. The first column is the direction of the largest variance, and so on. The sign of a direction is that with
    which its component of the largest absolute value is positive, so that equal input has equal output.

    Args:
        vectors: ``[rows, dimensions]``; zero rows stand for what has no vector.
        shrinkage: from 0 (variances of exactly 1) to 1 (directions keep their variances in proportion).

    Returns:
        float32 ``[rows, dimensions]``. Zero rows stay zero. Where all other rows are equal, all rows are zero: nothing
        varies.

    Raises:
        ValueError: the shrinkage is out of range.
    """
    from threadpoolctl import threadpool_limits

    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must be from 0 to 1, not {shrinkage}")
    out = np.zeros(vectors.shape, dtype=np.float32)
    filled = np.flatnonzero(vectors.any(axis=1))
    if not len(filled) or not vectors.shape[1]:
        return out
    rows = np.asarray(vectors, dtype=np.float64)[filled]
    rows -= rows.mean(axis=0)
    # on one thread, because the number of threads changes last bits
    with threadpool_limits(limits=1):
        variances, directions = np.linalg.eigh(rows.T @ rows / len(rows))
        order = np.argsort(-variances, kind="stable")
        variances, directions = np.maximum(variances[order], 0), directions[:, order]
        largest = np.abs(directions).argmax(axis=0)
        directions *= np.sign(directions[largest, np.arange(directions.shape[1])])
        components = rows @ directions
    shrunk = (1 - shrinkage) * variances + shrinkage * variances.mean()
    varies = variances > max(_LEAST_SHARE * variances[0], _LEAST_VARIANCE)
    scales = np.divide(1, np.sqrt(shrunk), out=np.zeros_like(shrunk), where=varies)
    out[filled] = components * scales
    return out
