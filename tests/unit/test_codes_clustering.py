"""k-means: its invariants, its determinism, and catalogues with fewer distinct vectors than clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.codes.clustering import kmeans


def _groups(groups: int = 5, size: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), size)
    return 20 * np.eye(groups, 6)[group] + random.normal(size=(groups * size, 6)), group


def test_groups_that_lie_apart_are_found():
    vectors, group = _groups()
    centres, labels = kmeans(vectors, 5, seed=3)
    assert len(set(zip(group.tolist(), labels.tolist(), strict=True))) == 5
    assert np.allclose(centres[labels[::40]], vectors.reshape(5, 40, 6).mean(axis=1))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 12), st.integers(1, 20))
def test_every_vector_has_its_nearest_centre(seed, count, clusters, iterations):
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, size=(count, 2)) + random.choice([0, 1e-3], size=(count, 2))
    centres, labels = kmeans(vectors, clusters, seed, iterations)
    distinct = len(np.unique(vectors, axis=0))
    assert centres.shape == (min(clusters, distinct), 2)
    assert labels.dtype == np.int64
    distances = ((vectors[:, None] - centres) ** 2).sum(axis=-1)
    assert np.allclose(distances[np.arange(count), labels], distances.min(axis=1), atol=1e-12)
    assert len(np.unique(labels)) == len(centres), "a cluster is empty"
    if distinct <= clusters:
        assert np.array_equal(centres[labels], vectors)


def test_equal_bit_for_bit_whatever_the_number_of_threads():
    from threadpoolctl import threadpool_limits

    vectors = np.random.default_rng(1).normal(size=(3000, 24))
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            found.append(kmeans(vectors, 64, seed=5))
    assert all(np.array_equal(first, second) for first, second in zip(*found, strict=True))
    assert not np.array_equal(kmeans(vectors, 64, seed=6)[1], found[0][1])


def test_the_distance_falls_with_more_iterations_and_beats_random_centres():
    vectors = np.random.default_rng(1).normal(size=(2000, 8))

    def error(iterations: int) -> float:
        centres, labels = kmeans(vectors, 32, 0, iterations)
        return float(((vectors - centres[labels]) ** 2).sum())

    drawn = vectors[:32]
    at_random = ((vectors[:, None] - drawn) ** 2).sum(axis=-1).min(axis=1).sum()
    assert error(20) < error(1) < at_random


@pytest.mark.parametrize(("clusters", "iterations"), [(0, 20), (3, 0)])
def test_no_cluster_and_no_iteration_are_refused(clusters, iterations):
    with pytest.raises(ValueError, match="must be at least 1"):
        kmeans(np.zeros((4, 2)), clusters, 0, iterations)
