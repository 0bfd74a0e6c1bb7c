"""k-means, for the methods that quantise vectors."""

from __future__ import annotations

import warnings

import numpy as np


def kmeans(vectors: np.ndarray, clusters: int, seed: int, iterations: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Cluster vectors by Lloyd's algorithm from a k-means++ start.

    scikit-learn's ``KMeans`` on one thread: equal bit for bit for equal input and seed. A cluster that becomes empty
    starts again at the vector that is farthest from its own centre.

    Args:
        vectors: ``[n, d]``, finite.
        clusters: how many.
        seed: of the start.
        iterations: at most; fewer where the centres stop moving.

    Returns:
        The centres, float64 ``[k, d]``, and the centre that is nearest to each vector, int64 ``[n]``. ``k`` is
        ``clusters``, or the number of distinct vectors where that is smaller: each is then a centre of its own, and
        the centres are in lexicographic order.

    Raises:
        ValueError: ``clusters`` or ``iterations`` is below 1.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if clusters < 1 or iterations < 1:
        raise ValueError(f"clusters and iterations must be at least 1, not {clusters} and {iterations}")
    vectors = np.ascontiguousarray(vectors, dtype=np.float64)
    distinct, place = np.unique(vectors, axis=0, return_inverse=True)
    if len(distinct) <= clusters:
        return distinct, place.reshape(-1).astype(np.int64)
    model = KMeans(clusters, n_init=1, max_iter=iterations, random_state=seed, algorithm="lloyd")
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # vectors that differ in their last bits alone are one point to scikit-learn, and centres may then coincide
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors)
    return model.cluster_centers_, model.labels_.astype(np.int64)
