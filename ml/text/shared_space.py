"""One space for the texts of several catalogues: TF-IDF, truncated SVD and whitening, fitted once and kept.

The vectors of :mod:`ml.text.vectors` are fitted on the catalogue that they are of, so vectors of two catalogues cannot
be compared. A model that is trained on one dataset and goes on with another needs one space for both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.data.item_text import text_fields
from ml.text.encoder import unit_rows
from ml.text.tf_idf_svd import TfIdfSvd, svd_directions, words_of
from ml.text.vectors import ITEMS_PER_DIMENSION
from ml.text.whitening import component_whitening

FORMAT = "raw2rank-text-space-1"
DESCRIPTION = "text_space.json"
ARRAYS = "text_space.safetensors"
DIMENSIONS = TfIdfSvd().dimensions
_NAMES = ("weights", "directions", "mean", "whitening")


@dataclass(frozen=True)
class TextSpace:
    """A fitted encoder of texts: what :func:`ml.text.vectors.vectors_for_models` computes, for texts of any catalogue.

    Attributes:
        words: the vocabulary, in ascending order. Other words are not read.
        weights: inverse document frequency of each word, float64 ``[words]``.
        directions: of the truncated SVD, float32 ``[dimensions, words]``.
        mean: of the vectors that the space was fitted on, float64 ``[whitened dimensions]``.
        whitening: float64 ``[whitened dimensions, whitened dimensions]``.
    """

    words: tuple[str, ...]
    weights: np.ndarray
    directions: np.ndarray
    mean: np.ndarray
    whitening: np.ndarray

    @classmethod
    def fit(cls, texts: Iterable[str], dimensions: int = DIMENSIONS) -> TextSpace:
        """Fit the space on the texts of all catalogues. Equal texts count once, and their order does not matter.

        Args:
            texts: of the items of all catalogues.
            dimensions: of the SVD, at most. Of few texts only one direction for every ten is kept, as in
                :func:`ml.text.vectors.vectors_for_models`.

        Raises:
            ValueError: no text has a title, brand or category with a word.
        """
        from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

        different = sorted(set(texts))
        words = words_of(different)
        if not any(words):
            raise ValueError("no item of any dataset has a title, brand or category with a word")
        counter = CountVectorizer(analyzer=list)
        counts = counter.fit_transform(words).astype(np.float64)
        weighted = TfidfTransformer(sublinear_tf=True).fit(counts)
        weights = np.asarray(weighted.idf_, dtype=np.float64)
        directions = np.ascontiguousarray(svd_directions(weighted.transform(counts), dimensions), dtype=np.float32)
        vocabulary = tuple(str(word) for word in counter.get_feature_names_out())
        unwhitened = cls(vocabulary, weights, directions, np.zeros(0), np.zeros((0, 0)))._projected(words)
        known = _says_something(different) & unwhitened.any(axis=1)
        if not known.any():
            raise ValueError("no item of any dataset has a title, brand or category with a word")
        kept = max(2, int(known.sum()) // ITEMS_PER_DIMENSION)
        mean, whitening = component_whitening(unwhitened[known][:, :kept])
        return cls(vocabulary, weights, directions, mean, whitening)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Whitened vectors of texts, float32 ``[texts, dimensions]``. Zero rows where a text has no word of the
        vocabulary, or neither title, brand nor category. Equal texts have equal vectors."""
        from threadpoolctl import threadpool_limits

        different = sorted(set(texts))
        place = {text: row for row, text in enumerate(different)}
        projected = self._projected(words_of(different))
        known = _says_something(different) & projected.any(axis=1)
        found = np.zeros((len(different), len(self.mean)), dtype=np.float32)
        with threadpool_limits(limits=1):
            found[known] = (projected[known][:, : len(self.mean)].astype(np.float64) - self.mean) @ self.whitening
        return found[[place[text] for text in texts]]

    def digest(self) -> str:
        """SHA-256 of all that decides vectors."""
        digest = hashlib.sha256(json.dumps([FORMAT, self.words]).encode())
        for name in _NAMES:
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write ``text_space.json`` and ``text_space.safetensors`` into an existing folder; equal spaces are equal byte
        for byte."""
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(getattr(self, name)) for name in _NAMES}, folder / ARRAYS)
        description = {"format": FORMAT, "digest": self.digest(), "words": self.words}
        (folder / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TextSpace:
        """Read what :meth:`save` wrote.

        Raises:
            OSError: it is not there.
            ValueError: it holds another format, or not what its digest is of.
        """
        from safetensors.numpy import load_file

        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"{DESCRIPTION} holds {description['format']}, this version reads {FORMAT}")
        arrays = load_file(folder / ARRAYS)
        space = cls(tuple(description["words"]), *(arrays[name] for name in _NAMES))
        if space.digest() != description["digest"]:
            raise ValueError(f"{ARRAYS} does not hold the space that {DESCRIPTION} describes")
        return space

    def _projected(self, words: list[list[str]]) -> np.ndarray:
        """Vectors of the directions, of length 1, before they are whitened."""
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.preprocessing import normalize
        from threadpoolctl import threadpool_limits

        counter = CountVectorizer(analyzer=list, vocabulary=list(self.words))
        counts = counter.transform(words).astype(np.float64)
        counts.data = 1 + np.log(counts.data)
        with threadpool_limits(limits=1):
            return unit_rows(normalize(counts.multiply(self.weights).tocsr(), copy=False) @ self.directions.T)


def _says_something(texts: Sequence[str]) -> np.ndarray:
    """Which texts have a title, brand or category with a word, bool ``[texts]``."""
    names = [" ".join(field for field in text_fields(text) if field) for text in texts]
    return np.array([bool(words) for words in words_of(names)], dtype=bool)
