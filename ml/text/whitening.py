"""Whitening: vectors whose dimensions are uncorrelated and of (nearly) equal variance.

Vectors of texts point in a few common directions, so that distances between them are dominated by what all texts share,
and a model that is trained on them learns these directions first.

Sources: Su, Cao, Liu and Ou, "Whitening Sentence Representations for Better Semantics and Faster Retrieval",
arXiv 2103.15316; Zhang et al., "Are ID Embeddings Necessary? Whitening Pre-trained Text Embeddings for Effective
Sequential Recommendation", ICDE 2024. The covariance is shrunk towards a multiple of the identity, so that directions
of hardly any variance are not blown up (Ledoit and Wolf, Journal of Multivariate Analysis 88, 2004).
"""

from __future__ import annotations

import numpy as np

SHRINKAGE = 1e-2


def whitened(vectors: np.ndarray) -> np.ndarray:
    """Centred vectors whose dimensions are uncorrelated and of (nearly) equal variance, by ZCA: of all such vectors
    those that are closest to the given ones.

    Args:
        vectors: ``[rows, dimensions]``.

    Returns:
        float64 ``[rows, dimensions]``; zeros where all rows are equal.
    """
    return _whitened(vectors, SHRINKAGE, components=False)


def whitened_components(vectors: np.ndarray, shrinkage: float = SHRINKAGE) -> np.ndarray:
    """Principal components of vectors, scaled to (nearly) equal variance; the one that varied most comes first.

    The sign of a component is that with which the largest weight of its direction is positive, so that equal input has
    equal output.

    Args:
        vectors: ``[rows, dimensions]``.
        shrinkage: above 0 (variances of exactly 1) up to 1 (the components keep their variances in proportion).

    Returns:
        float64 ``[rows, dimensions]``; zeros where all rows are equal.

    Raises:
        ValueError: the shrinkage is out of range.
    """
    if not 0 < shrinkage <= 1:
        raise ValueError(f"shrinkage must be above 0 and at most 1, not {shrinkage}")
    return _whitened(vectors, shrinkage, components=True)


def component_whitening(vectors: np.ndarray, shrinkage: float = SHRINKAGE) -> tuple[np.ndarray, np.ndarray]:
    """The affine map of :func:`whitened_components`, for vectors that are not among those that it is fitted on:
    ``(vectors - mean) @ matrix``.

    Args:
        vectors: ``[rows, dimensions]``.
        shrinkage: as for :func:`whitened_components`.

    Returns:
        ``mean`` float64 ``[dimensions]`` and ``matrix`` float64 ``[dimensions, dimensions]``, which is zero where all
        rows are equal.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    mean = vectors.mean(axis=0)
    found = _decomposed(vectors - mean, shrinkage)
    if found is None:
        return mean, np.zeros((len(mean), len(mean)))
    values, directions = found
    return mean, np.ascontiguousarray((_signed(directions) / np.sqrt(values))[:, ::-1])


def _whitened(vectors: np.ndarray, shrinkage: float, components: bool) -> np.ndarray:
    from threadpoolctl import threadpool_limits

    centred = np.asarray(vectors, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    found = _decomposed(centred, shrinkage)
    if found is None:
        return np.zeros_like(centred)
    values, directions = found
    # on one thread, because the number of threads changes last bits
    with threadpool_limits(limits=1):
        if not components:
            return centred @ (directions / np.sqrt(values)) @ directions.T
        # eigenvalues come in ascending order
        return (centred @ (_signed(directions) / np.sqrt(values)))[:, ::-1]


def _decomposed(centred: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Eigenvalues, ascending, and eigenvectors of the covariance of centred vectors, shrunk towards a multiple of the
    identity; ``None`` where all rows are equal."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        covariance = centred.T @ centred / len(centred)
        variance = np.trace(covariance) / max(1, len(covariance))
        if variance < 1e-18:
            return None
        values, directions = np.linalg.eigh(
            (1 - shrinkage) * covariance + shrinkage * variance * np.eye(len(covariance))
        )
        return values, directions


def _signed(directions: np.ndarray) -> np.ndarray:
    """Directions, in columns, with the sign that makes their largest weight positive."""
    largest = np.abs(directions).argmax(axis=0)
    return directions * np.sign(directions[largest, np.arange(directions.shape[1])])
