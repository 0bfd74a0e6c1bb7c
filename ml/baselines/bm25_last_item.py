"""Items that read like the last one."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from ml.baselines.popularity import item_counts, popularity_shares
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.histories import check_request, in_blocks, last_items
from ml.recommender import NO_ITEM, Recommendations
from ml.registry import Registered
from ml.retrieval.bm25 import index_texts
from ml.retrieval.top_k import exclude_seen as exclude_seen_items
from ml.retrieval.top_k import tie_break_order, top_k

REGISTERED = Registered(
    name="bm25_last_item",
    title="BM25 on the text of the last item",
    description=(
        "Items whose text is most like that of the last item by BM25, with English stop words removed and words "
        "stemmed. The last item itself is a candidate unless seen items are excluded."
    ),
    source=(
        'Acharya, "A primer on generative recommendation, part 1" (2025), table of training-free baselines; bm25s '
        "(Lù, arXiv:2407.03618)"
    ),
    path="ml.baselines.bm25_last_item:BM25LastItem",
    needs=("item_text",),
    rank=50,
)


class BM25LastItem:
    """Ranks items by the BM25 score of their text for the text of the last item.

    The index is that of :mod:`ml.retrieval.bm25`. The last item itself is a candidate, mostly the first, unless
    ``exclude_seen`` is set. Equal scores follow the tie rule of :mod:`ml.retrieval.top_k`. An empty history, and a last
    item whose text holds no word, have the most popular items.

    ``words`` counts the words of each item, ``[items, vocabulary]``; ``weights`` holds the weight of each
    word for each item, ``[vocabulary, items]``.

    Args:
        k1: saturation of repeated words.
        b: strength of the correction for the length of texts, 0 to 1.
    """

    name = "bm25_last_item"

    def __init__(self, k1: float = 1.5, b: float = 0.75) -> None:
        self.k1 = k1
        self.b = b
        self.counts = np.empty(0, dtype=np.int64)
        self.words = sparse.csr_array((0, 0), dtype=np.float32)
        self.weights = sparse.csr_array((0, 0), dtype=np.float32)

    def fit(self, training_set: TrainingSet) -> Self:
        """Index the text of every item.

        Raises:
            ValueError: the training set was loaded without its item text.
        """
        if training_set.item_text is None:
            raise ValueError(f"BM25 needs the item text of {training_set.dataset}: add it with TrainingSet.with_text")
        self.counts = item_counts(training_set)
        index = index_texts(training_set.item_text, self.k1, self.b)
        self.words, self.weights = index.words, index.weights
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The items whose text is most like that of the last item."""
        items = len(self.counts)
        check_request(histories, k, items)
        order = tie_break_order(items)
        shares = popularity_shares(self.counts).astype(np.float32)
        last = last_items(histories)

        def answer(block: Sequences) -> Recommendations:
            query, row_of_query = np.unique(last_items(block), return_inverse=True)
            scores = np.empty((len(query), items), dtype=np.float32)
            readable = np.flatnonzero(query != NO_ITEM)
            scores[readable] = (self.words[query[readable]] @ self.weights).toarray()
            worded = np.zeros(len(query), dtype=bool)
            worded[readable] = np.diff(self.words.indptr)[query[readable]] > 0
            scores[~worded] = shares
            if exclude_seen:
                scores = scores[row_of_query]
                exclude_seen_items(scores, block)
                return top_k(scores, k, order)
            best = top_k(scores, k, order)
            return Recommendations(best.items[row_of_query], best.scores[row_of_query])

        # rows of one last item side by side: each item is a query in one block, hardly ever in two
        return in_blocks(histories, k, 4 * items, answer, order=np.argsort(last, kind="stable"))

    def save(self, folder: Path) -> None:
        arrays = {"counts": self.counts}
        for name, matrix in (("words", self.words), ("weights", self.weights)):
            arrays |= {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        settings = {"k1": self.k1, "b": self.b, "vocabulary": self.words.shape[1]}
        save_state(folder, self.name, settings, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings, arrays = load_state(folder, cls.name)
        recommender = cls(k1=settings["k1"], b=settings["b"])
        recommender.counts = arrays["counts"]
        shape = (len(recommender.counts), settings["vocabulary"])
        recommender.words = _matrix(arrays, "words", shape)
        recommender.weights = _matrix(arrays, "weights", shape[::-1])
        return recommender


def _matrix(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.csr_array(tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr")), shape=shape)
