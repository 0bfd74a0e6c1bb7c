"""Vectors of the item text, whitened, and whether there is a text at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet

# recipes of codes are read wherever the graph of assets is loaded, and reading text takes imports of a second


def has_text(training_set: TrainingSet) -> bool:
    """Whether any item has a text that says something of it."""
    from ml.text.vectors import texts_known

    return bool(texts_known(training_set).any())


def whitened_text(training_set: TrainingSet, vectors: np.ndarray) -> np.ndarray:
    """Text vectors after :func:`ml.text.whitening.whitened`; zeros for items whose text says nothing.

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
    from ml.text.vectors import ITEMS_PER_DIMENSION, texts_known
    from ml.text.whitening import whitened

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
