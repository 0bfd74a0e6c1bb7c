"""BM25 of free texts against an index of item texts."""

import math

import numpy as np

from ml.retrieval.bm25 import index_texts, query_words

TEXTS = ("Steel drill bits", "A brass valve for the drill", "copper wire copper", "!", "")


def test_scores_of_queries_are_those_of_the_published_formula() -> None:
    index = index_texts(TEXTS, k1=1.2, b=0.6)
    scores = (query_words(["copper drills", "drill drill", "nothing known"], index.stems) @ index.weights).toarray()
    lengths = np.array([3, 3, 3, 0, 0])  # stop words and what is no word do not count

    def weight(item: int, frequency: int, in_items: int) -> float:
        rarity = math.log(1 + (len(TEXTS) - in_items + 0.5) / (in_items + 0.5))
        return rarity * frequency / (frequency + 1.2 * (1 - 0.6 + 0.6 * lengths[item] / lengths.mean()))

    expected = np.zeros((3, len(TEXTS)))
    expected[0, 2] = weight(2, 2, 1)
    expected[0, :2] = weight(0, 1, 2), weight(1, 1, 2)
    expected[1] = 2 * expected[0] * (np.arange(len(TEXTS)) < 2)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_texts_of_the_index_are_queries_like_any_other() -> None:
    index = index_texts(TEXTS)
    again = query_words(TEXTS, index.stems)
    np.testing.assert_array_equal(again.toarray(), index.words.toarray())


def test_nothing_to_look_for_scores_nothing() -> None:
    empty = index_texts(["", "!"])
    assert empty.stems == ()
    assert (query_words(["drill", ""], empty.stems) @ empty.weights).shape == (2, 2)
    assert query_words([], index_texts(TEXTS).stems).shape == (0, len(index_texts(TEXTS).stems))
