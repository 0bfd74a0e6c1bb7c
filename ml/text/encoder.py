"""What a text encoder is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class TextEncoder(Protocol):
    """From texts to vectors that can be compared by their inner product."""

    name: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """A vector for each text, float32 ``[texts, dimensions]``.

        Rows have Euclidean length 1, but for texts without a word, whose rows are zero. Equal texts have equal rows.
        """


def unit_rows(vectors: np.ndarray, least: float = 1e-6) -> np.ndarray:
    """Rows scaled to Euclidean length 1, float32; rows not longer than ``least`` become zero."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    scaled = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > least)
    return scaled.astype(np.float32)
