"""Vectors of the item text, whitened, and whether there is a text at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet

SHRINKAGE = 1e-2
ITEMS_PER_DIMENSION = 10


def texts_known(training_set: TrainingSet) -> np.ndarray:
    """Which items have a text that says something of them, bool ``[items]``.

    The labels of fields and "Unknown" say nothing: a catalogue without metadata has texts of these alone. No item has a
    text where the training set was loaded without.
    """
    from ml.text.vectors import name_vectors

    if training_set.item_text is None:
        return np.zeros(training_set.items, dtype=bool)
    return np.any(name_vectors(training_set), axis=1)


def has_text(training_set: TrainingSet) -> bool:
    """Whether any item has a text that says something of it."""
    return bool(texts_known(training_set).any())


def whitened_text(training_set: TrainingSet, vectors: np.ndarray) -> np.ndarray:
    """Text vectors after :func:`whitened`; zeros for items whose text says nothing.

    There is one dimension for every ten texts at most, the first ones: with as many dimensions as texts all whitened
    vectors are equally far from one another, and similar texts cannot be recognised.

    Args:
        training_set: whose texts they are.
        vectors: ``[items, dimensions]``, the dimensions that describe most first.

    Returns:
        float64 ``[items, at most dimensions]``.

    Raises:
        ValueError: no text says anything.
    """
    known = texts_known(training_set)
    if not known.any():
        raise ValueError(
            f"the items of {training_set.dataset} have no text; set optional = true for its vectors, or choose a "
            "recipe of codes without them"
        )
    vectors = vectors[:, : max(2, int(known.sum()) // ITEMS_PER_DIMENSION)]
    found = np.zeros(vectors.shape, dtype=np.float64)
    found[known] = whitened(vectors[known])
    return found


def whitened(vectors: np.ndarray) -> np.ndarray:
    """Centred vectors whose dimensions are uncorrelated and of (nearly) equal variance, by ZCA.

    Vectors of texts point in a few common directions, so that distances between them are dominated by what all texts
    share; Zhang et al., "Are ID Embeddings Necessary? Whitening Pre-trained Text Embeddings for Effective Sequential
    Recommendation", ICDE 2024. The covariance is shrunk towards a multiple of the identity by 1 %, so that directions
    of hardly any variance are not blown up. Run on one thread.

    Args:
        vectors: ``[rows, dimensions]``.

    Returns:
        float64 ``[rows, dimensions]``; zeros where all rows are equal.
    """
    from threadpoolctl import threadpool_limits

    centred = np.asarray(vectors, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    with threadpool_limits(limits=1):
        covariance = centred.T @ centred / len(centred)
        variance = np.trace(covariance) / max(1, len(covariance))
        if variance < 1e-18:
            return np.zeros_like(centred)
        shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * variance * np.eye(len(covariance))
        values, directions = np.linalg.eigh(shrunk)
        return centred @ (directions / np.sqrt(values)) @ directions.T
