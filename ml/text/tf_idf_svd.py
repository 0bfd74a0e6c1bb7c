"""Texts as the directions in which their words vary most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ml.registry import Registered
from ml.text.encoder import unit_rows

if TYPE_CHECKING:
    from scipy.sparse import spmatrix

REGISTERED = Registered(
    name="tf_idf_svd",
    title="TF-IDF with truncated SVD",
    description=(
        "Words weighed by how few of the texts hold them, in as many dimensions as describe the texts best. Fitted on "
        "the texts themselves."
    ),
    source="Deerwester et al., Indexing by latent semantic analysis, JASIS 41 (1990)",
    path="ml.text.tf_idf_svd:TfIdfSvd",
    rank=10,
)

_ITERATIONS = 7


class TfIdfSvd:
    """Latent semantic analysis: TF-IDF weights of the words, truncated SVD, rows of length 1.

    Deerwester, Dumais, Furnas, Landauer and Harshman, "Indexing by latent semantic analysis", Journal of the American
    Society for Information Science 41 (1990). Words are runs of two or more letters and digits, in lower case and
    without accents; English stop words are left out; a word that a text repeats counts by the logarithm (scikit-learn's
    ``TfidfVectorizer`` with ``sublinear_tf``). A text of stop words alone holds no word.

    The SVD is randomised with a fixed seed (Halko, Martinsson and Tropp, SIAM Review 53, 2011) and runs on one thread,
    since the number of threads changes last bits.

    Args:
        dimensions: of the vectors, at most; there are fewer where there are fewer texts or different words.
        seed: of the SVD's random start.
    """

    name = "tf_idf_svd"

    def __init__(self, dimensions: int = 256, seed: int = 0) -> None:
        if dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, not {dimensions}")
        self.dimensions = dimensions
        self.seed = seed

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """A vector for each text, float32 ``[texts, dimensions]``, fitted on these texts.

        Texts without a word, and the rare ones of which the kept dimensions describe nothing, have zero rows. Where no
        text holds a word there are no dimensions.
        """
        from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
        from threadpoolctl import threadpool_limits

        words = words_of(texts)
        if not any(words):
            return np.zeros((len(texts), 0), dtype=np.float32)
        counts = CountVectorizer(analyzer=list).fit_transform(words)
        weights = TfidfTransformer(sublinear_tf=True).fit_transform(counts.astype(np.float64))
        directions = svd_directions(weights, self.dimensions, self.seed)
        with threadpool_limits(limits=1):
            # row by row the same sum: equal texts have equal vectors
            vectors = weights @ directions.T
        return unit_rows(vectors)


def words_of(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text in their order, without English stop words."""
    from sklearn.feature_extraction.text import CountVectorizer

    analyse = CountVectorizer(strip_accents="unicode", stop_words="english").build_analyzer()
    return [analyse(text) for text in texts]


def svd_directions(weights: spmatrix, dimensions: int, seed: int = 0) -> np.ndarray:
    """The directions of the truncated SVD of TF-IDF weights, the one that describes most of them first.

    Args:
        weights: ``[texts, words]``.
        dimensions: how many directions, at most.
        seed: of the random start.

    Returns:
        float64 ``[dimensions, words]``.
    """
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        dimensions = min(dimensions, *weights.shape)
        _, _, directions = randomized_svd(weights, dimensions, n_iter=_ITERATIONS, random_state=seed)
    return directions
