"""Whitening against its definition: means of 0, variances of 1, no correlation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import shrunk_covariance
from sklearn.decomposition import PCA

from ml.text.whitening import whiten


def _vectors(rows: int = 200, dimensions: int = 6, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mixed = generator.normal(size=(rows, dimensions)) @ generator.normal(size=(dimensions, dimensions))
    return mixed * np.geomspace(1, 100, dimensions) + 5


def test_without_shrinkage_it_is_a_whitening_pca_of_scikit_learn():
    vectors = _vectors()
    expected = PCA(whiten=True, svd_solver="full").fit_transform(vectors) * np.sqrt(200 / 199)
    found = whiten(vectors, shrinkage=0)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-4)
    np.testing.assert_allclose(found.T @ found / 200, np.eye(6), atol=1e-4)


@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 1.0])
def test_it_inverts_the_shrunk_covariance(shrinkage):
    vectors = _vectors()
    centred = vectors - vectors.mean(axis=0)
    # whitened inner products are those by the inverse of the covariance
    inverse = np.linalg.inv(shrunk_covariance(centred.T @ centred / len(vectors), shrinkage))
    found = whiten(vectors, shrinkage)
    np.testing.assert_allclose(found @ found.T, centred @ inverse @ centred.T, atol=1e-3)


def test_zero_rows_stay_zero_and_change_nothing():
    vectors = _vectors()
    sparse = np.zeros((300, 6))
    places = np.random.default_rng(1).choice(300, 200, replace=False)
    sparse[places] = vectors
    found = whiten(sparse)
    np.testing.assert_array_equal(found[places], whiten(vectors))
    assert not np.delete(found, places, axis=0).any()


@given(st.integers(1, 12), st.integers(0, 8), st.integers(0, 100), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_any_vectors_are_whitened_to_finite_ones_alike_each_time(rows, dimensions, seed, shrinkage):
    vectors = np.random.default_rng(seed).integers(-1, 2, (rows, dimensions)).astype(np.float32)
    found = whiten(vectors, shrinkage)
    assert found.shape == vectors.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, whiten(vectors, shrinkage))
    # fewer rows than dimensions leave directions without variance, which stay without
    np.testing.assert_allclose(found[vectors.any(axis=1)].sum(axis=0), 0, atol=1e-3)


def test_the_sign_of_a_direction_is_that_of_its_largest_component():
    vectors = _vectors(dimensions=2)
    np.testing.assert_allclose(whiten(vectors[::-1].copy())[::-1], whiten(vectors), atol=1e-4)
    assert np.corrcoef(whiten(vectors)[:, 0], vectors[:, 1])[0, 1] > 0.9


def test_equal_vectors_become_zero():
    assert not whiten(np.tile([[0.6, 0.8]], (7, 1))).any()
    assert whiten(np.zeros((3, 0))).shape == (3, 0)


def test_a_shrinkage_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"from 0 to 1, not 1\.5"):
        whiten(_vectors(), 1.5)
