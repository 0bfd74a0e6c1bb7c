"""Whitened components against their definition: means of 0, variances of 1, no correlation, the largest first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import shrunk_covariance
from sklearn.decomposition import PCA

from ml.text.whitening import SHRINKAGE, component_whitening, whitened, whitened_components


def _vectors(rows: int = 200, dimensions: int = 6, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mixed = generator.normal(size=(rows, dimensions)) @ generator.normal(size=(dimensions, dimensions))
    return mixed * np.geomspace(1, 100, dimensions) + 5


def test_with_hardly_any_shrinkage_it_is_a_whitening_pca_of_scikit_learn():
    vectors = _vectors()
    expected = PCA(whiten=True, svd_solver="full").fit_transform(vectors) * np.sqrt(200 / 199)
    found = whitened_components(vectors, shrinkage=1e-12)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-4)
    np.testing.assert_allclose(found.T @ found / 200, np.eye(6), atol=1e-4)


@pytest.mark.parametrize("shrinkage", [0.01, 0.5, 1.0])
def test_it_inverts_the_shrunk_covariance(shrinkage):
    vectors = _vectors()
    centred = vectors - vectors.mean(axis=0)
    # whitened inner products are those by the inverse of the covariance
    inverse = np.linalg.inv(shrunk_covariance(centred.T @ centred / len(vectors), shrinkage))
    found = whitened_components(vectors, shrinkage)
    np.testing.assert_allclose(found @ found.T, centred @ inverse @ centred.T, atol=1e-6)


def test_components_are_a_rotation_of_the_vectors_whitened_by_zca():
    vectors = _vectors()
    one, other = whitened(vectors), whitened_components(vectors, SHRINKAGE)
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-8)


@given(st.integers(1, 12), st.integers(0, 8), st.integers(0, 100), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_any_vectors_become_finite_ones_alike_each_time(rows, dimensions, seed, shrinkage):
    vectors = np.random.default_rng(seed).integers(-1, 2, (rows, dimensions)).astype(np.float32)
    found = whitened_components(vectors, shrinkage)
    assert found.shape == vectors.shape
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, whitened_components(vectors, shrinkage))
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-6)
    # shrinkage leaves the order of the variances as it was
    assert (np.diff((found**2).sum(axis=0)) < 1e-6).all()


def test_the_sign_of_a_direction_is_that_of_its_largest_weight():
    vectors = _vectors(dimensions=2)
    np.testing.assert_allclose(whitened_components(vectors[::-1])[::-1], whitened_components(vectors), atol=1e-6)
    assert np.corrcoef(whitened_components(vectors)[:, 0], vectors[:, 1])[0, 1] > 0.9


def test_equal_vectors_become_zero():
    assert not whitened_components(np.tile([[0.6, 0.8]], (7, 1))).any()
    assert whitened_components(np.zeros((3, 0))).shape == (3, 0)


@pytest.mark.parametrize("shrinkage", [0.0, 1.5])
def test_a_shrinkage_out_of_range_is_refused(shrinkage):
    with pytest.raises(ValueError, match=f"at most 1, not {shrinkage}"):
        whitened_components(_vectors(), shrinkage)


def test_the_affine_map_whitens_the_vectors_that_it_was_fitted_on():
    vectors = _vectors()
    mean, matrix = component_whitening(vectors[:150])
    np.testing.assert_allclose((vectors[:150] - mean) @ matrix, whitened_components(vectors[:150]), atol=1e-9)
    mean, matrix = component_whitening(np.ones((5, 3)))
    assert not matrix.any()
    np.testing.assert_array_equal(mean, np.ones(3))
