"""Vectors of the items for methods that quantise vectors: of their text, of who has them, or both end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet


@dataclass(frozen=True)
class VectorPart:
    """One part of the vectors that are quantised.

    Attributes:
        of: ``text``, the vectors of :mod:`ml.text.vectors`; ``interactions``, the factors of a truncated SVD of the
            training interactions.
        dimensions: how many of them are taken, the ones that describe most.
        weight: length of each item's part; parts are scaled to it, so that weights say how much each part counts.
    """

    of: Literal["text", "interactions"]
    dimensions: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, not {self.dimensions}")
        if self.weight <= 0:
            raise ValueError(f"weight must be above 0, not {self.weight}")


def input_vectors(training_set: TrainingSet, parts: Sequence[VectorPart], seed: int) -> np.ndarray:
    """The parts end to end, from training interactions and metadata alone.

    Args:
        training_set: with item text where a part is of text.
        parts: one or more.
        seed: of the random start of factorisations.

    Returns:
        float64 ``[items, dimensions]``; a part is zero for an item of which it knows nothing. There are fewer
        dimensions than asked for where the texts or the interactions have fewer.

    Raises:
        ValueError: a part is of text, and the training set was loaded without it.
    """
    return np.concatenate([_scaled(_vectors(training_set, part, seed), part.weight) for part in parts], axis=1)


def _vectors(training_set: TrainingSet, part: VectorPart, seed: int) -> np.ndarray:
    if part.of == "text":
        from ml.text.vectors import text_vectors

        return text_vectors(training_set)[:, : part.dimensions]
    from ml.codes.factors import item_factors

    return item_factors(training_set.train, training_set.items, part.dimensions, seed).T


def _scaled(vectors: np.ndarray, length: float) -> np.ndarray:
    """Rows of the given length; rows of nearly nothing become zero."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return length * np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-9)
