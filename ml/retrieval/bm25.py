"""BM25 over the text of the items, with the weights of all words computed in advance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Bm25Index:
    """Words of the items and what each adds to a score.

    The index is that of bm25s (Lù, "BM25S", arXiv:2407.03618; Lucene's variant), which weighs every word of every item
    in advance, so that a score is a sum of stored weights: the scores of many queries are one product of sparse
    matrices. English stop words are removed and words are stemmed by Snowball (PyStemmer).

    Attributes:
        stems: the vocabulary, ascending.
        words: how often each item has each word, float32 ``[items, vocabulary]``.
        weights: weight of each word for each item, float32 ``[vocabulary, items]``.
    """

    stems: tuple[str, ...]
    words: sparse.csr_array
    weights: sparse.csr_array


def index_texts(texts: Sequence[str], k1: float = 1.5, b: float = 0.75) -> Bm25Index:
    """The index of some texts.

    Args:
        texts: one for each item.
        k1: saturation of repeated words.
        b: strength of the correction for the length of texts, 0 to 1.
    """
    # imported here: bm25s brings numba
    import bm25s

    stems, numbers = _stemmed(texts)
    shape = (len(texts), len(stems))
    if not stems:
        empty = sparse.csr_array(shape, dtype=np.float32), sparse.csr_array(shape[::-1], dtype=np.float32)
        return Bm25Index((), *empty)
    words = _counts(numbers, len(stems))
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    vocabulary = {stem: number for number, stem in enumerate(stems)}
    index.index(([ids.tolist() for ids in numbers], vocabulary), create_empty_token=False, show_progress=False)
    scores = index.scores
    by_word = sparse.csr_array((scores["data"], scores["indices"], scores["indptr"]), shape=shape[::-1])
    by_word.sort_indices()
    return Bm25Index(tuple(stems), words, by_word)


def query_words(texts: Sequence[str], stems: Sequence[str]) -> sparse.csr_array:
    """How often each text has each word of an index, float32 ``[texts, vocabulary]``; other words do not count.

    Its product with the ``weights`` of the index is the scores of all items for these texts.
    """
    found, numbers = _stemmed(texts)
    place = {stem: number for number, stem in enumerate(stems)}
    # words that the index lacks go to one column more, which is cut off
    places = np.array([place.get(stem, len(stems)) for stem in found], dtype=np.int64)
    counted = _counts([places[ids] for ids in numbers], len(stems) + 1)
    return sparse.csr_array(counted[:, : len(stems)])


def _counts(numbers: list[np.ndarray], vocabulary: int) -> sparse.csr_array:
    """Word counts, float32 ``[texts, vocabulary]``, of the numbers of each text's words."""
    text = np.repeat(np.arange(len(numbers)), [len(ids) for ids in numbers])
    ones = np.ones(len(text), dtype=np.float32)
    column = np.concatenate([np.empty(0, dtype=np.int64), *numbers])
    words = sparse.csr_array((ones, (text, column)), shape=(len(numbers), vocabulary))
    words.sum_duplicates()
    return words


def _stemmed(texts: Sequence[str]) -> tuple[list[str], list[np.ndarray]]:
    """The stems of some texts in ascending order, and of each text the numbers of its words among them."""
    import bm25s
    import Stemmer

    tokenized = bm25s.tokenize(
        list(texts), stopwords="english", stemmer=Stemmer.Stemmer("english"), show_progress=False
    )
    # bm25s numbers stems in the order of a set of strings, another in every process
    stems = sorted(tokenized.vocab)
    new_number = np.empty(max(tokenized.vocab.values(), default=-1) + 1, dtype=np.int64)
    new_number[[tokenized.vocab[stem] for stem in stems]] = np.arange(len(stems))
    return stems, [new_number[np.asarray(ids, dtype=np.int64)] for ids in tokenized.ids]
