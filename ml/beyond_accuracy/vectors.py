"""Vectors of items that the distances of lists are computed from: by category, by text, by co-occurrence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.codes.factors import interaction_matrix, truncated_svd
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet

# between two labels of a category, as in "Animation|Comedy"
LABEL_SEPARATOR = "|"
CO_OCCURRENCE_DIMENSIONS = 64


def text_vectors_of(training_set: TrainingSet) -> np.ndarray | None:
    """Text vectors of items, for distances by text: those of :func:`ml.text.vectors.name_vectors`.

    Returns:
        float32 ``[items, dimensions]``; ``None`` where no text was loaded or no item has a word.
    """
    from ml.text.vectors import name_vectors

    if training_set.item_text is None:
        return None
    vectors = name_vectors(training_set)
    return vectors if vectors.any() else None


def categories_of(training_set: TrainingSet) -> list[str | None] | None:
    """The category of each item as its text says it, ``None`` for items without.

    Returns:
        ``[items]``; ``None`` where no text was loaded, or the texts have fewer than two different categories: with one,
        no list could be more or less diverse.
    """
    from ml.data.item_text import item_categories

    if training_set.item_text is None:
        return None
    categories = item_categories(training_set.item_text)
    return categories if len(set(categories) - {None}) > 1 else None


def labels_of(category: str | None) -> tuple[str, ...]:
    """The labels of a category, each once, in ascending order: ``Animation|Comedy`` has two, a category without ``|``
    is one label as it is written, a missing or blank one has none."""
    if not category or not category.strip():
        return ()
    if LABEL_SEPARATOR not in category:
        return (category,)
    return tuple(sorted({label.strip() for label in category.split(LABEL_SEPARATOR)} - {""}))


def category_vectors(categories: Sequence[str | None]) -> np.ndarray:
    """Multi-hot vectors of the labels of each item, scaled to length 1, float32 ``[items, labels]``.

    The cosine of two items is the number of labels that they share, divided by the geometric mean of how many they
    have: 1 or 0 for items of one label each. Rows of items without a category are 0.

    Args:
        categories: one an item; its labels are separated by ``|``.
    """
    labels = [labels_of(category) for category in categories]
    columns = {label: column for column, label in enumerate(sorted({label for each in labels for label in each}))}
    vectors = np.zeros((len(labels), len(columns)), np.float32)
    lengths = np.fromiter(map(len, labels), np.int64, len(labels))
    rows = np.repeat(np.arange(len(labels)), lengths)
    places = np.fromiter((columns[label] for each in labels for label in each), np.int64, len(rows))
    vectors[rows, places] = (1 / np.sqrt(np.maximum(lengths, 1)))[rows]
    return vectors


def co_occurrence_vectors(histories: Sequences, items: int, dimensions: int = CO_OCCURRENCE_DIMENSIONS) -> np.ndarray:
    """Vectors whose cosine approximates how often two items occur with the same users, float32 ``[items, at most
    dimensions]``: ``|U_i and U_j| / sqrt(|U_i| |U_j|)`` for the users U_i who have item i (the cosine of item-based
    collaborative filtering: Sarwar et al., WWW 2001).

    A truncated SVD of the user-item matrix with columns of length 1, items scaled by the singular values and then to
    length 1. Exact where the matrix has no more rows or columns than dimensions. Items in no history are 0. Equal
    histories give equal vectors.
    """
    from ml.text.encoder import unit_rows

    matrix = interaction_matrix(histories, items)
    matrix.data[:] = 1  # a user who has an item twice is one user; duplicates are summed on construction
    holders = np.bincount(matrix.indices, minlength=items)
    matrix.data /= np.sqrt(holders[matrix.indices])
    if items < 2 or not matrix.nnz:
        return (holders > 0).astype(np.float32)[:, None]
    components, values = truncated_svd(matrix, dimensions, seed=0)
    return unit_rows(components.T * values)
