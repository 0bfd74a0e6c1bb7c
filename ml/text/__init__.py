"""Vectors of texts, for whatever ranks items by what they are called.

:data:`ENCODERS` describes the encoders by name; importing this package imports none of them. None of them opens a
network connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

DEFAULT_ENCODER = "tf_idf_svd"


@runtime_checkable
class TextEncoder(Protocol):
    """From texts to vectors that can be compared by their inner product."""

    name: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """A vector for each text, float32 ``[texts, dimensions]``.

        Rows have Euclidean length 1, but for texts without a word, whose rows are zero. Equal texts have equal rows.
        """


@dataclass(frozen=True)
class EncoderDescription:
    """What an encoder is.

    Attributes:
        name: the name used in settings.
        title: the name shown to readers.
        description: how it makes vectors, in a sentence or two.
        extra: the optional dependency of this package that it needs, ``None`` where it needs none.
        source: where it comes from.
    """

    name: str
    title: str
    description: str
    extra: str | None
    source: str


_ALL = (
    EncoderDescription(
        name="tf_idf_svd",
        title="TF-IDF with truncated SVD",
        description=(
            "Words weighed by how few of the texts hold them, in as many dimensions as describe the texts best. "
            "Fitted on the texts themselves."
        ),
        extra=None,
        source="Deerwester et al., Indexing by latent semantic analysis, JASIS 41 (1990)",
    ),
    EncoderDescription(
        name="sentence_transformers",
        title="Sentence transformer (all-MiniLM-L6-v2)",
        description="A pretrained transformer, the mean of its states; its weights come with an installed package.",
        extra="text",
        source="Reimers and Gurevych, EMNLP 2019; model sentence-transformers/all-MiniLM-L6-v2",
    ),
)

ENCODERS: dict[str, EncoderDescription] = {encoder.name: encoder for encoder in _ALL}


def create_encoder(name: str = DEFAULT_ENCODER) -> TextEncoder:
    """The encoder of that name, with its default settings.

    Raises:
        ValueError: there is none.
        MissingExtra: it needs an extra that is not installed; the message says which.
    """
    # imported here, each where it is asked for: both bring heavy libraries
    if name == "tf_idf_svd":
        from ml.text.tf_idf_svd import TfIdfSvd

        return TfIdfSvd()
    if name == "sentence_transformers":
        from ml.text.sentence_transformers import SentenceTransformerEncoder

        return SentenceTransformerEncoder()
    raise ValueError(f"there is no text encoder {name!r}; there are {', '.join(ENCODERS)}")


def unit_rows(vectors: np.ndarray, least: float = 1e-6) -> np.ndarray:
    """Rows scaled to Euclidean length 1, float32; rows not longer than ``least`` become zero."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    scaled = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > least)
    return scaled.astype(np.float32)
