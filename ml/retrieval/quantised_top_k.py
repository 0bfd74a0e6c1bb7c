"""The lists that scoring every quantised item gives, found by PQTopK where that takes less time.

:meth:`JointProductQuantisedItemEmbedding.score_all` scores a batch of states by sums of partial scores, the same for
many states as for few. :class:`ml.retrieval.pqtopk.QuantisedCatalogue` ranks state by state, adds the partial scores in
another order, and so rounds differently. Here its lists only say which items can be among the best: these are scored
again as ``score_all`` does it, so that the lists and the scores are the same bit for bit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ml.data.sequences import Sequences
from ml.models.item_embeddings import CODES_PER_BOOK, JointProductQuantisedItemEmbedding
from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.pqtopk import Method, QuantisedCatalogue
from ml.retrieval.top_k import exclude_seen, tie_break_order, top_k

# In smaller catalogues a batch of several states takes less time through score_all: of 12,101 items 0.16 ms a state
# against 0.38 ms, of 300,000 items 4.0 ms against 3.0 ms. A single state always takes longer through it: 4.3 ms
# against 0.56 ms, and 90 ms against 3.5 ms. Measured by `benchmarks/ranking_speed.py quantised`, on one thread.
_LARGE_CATALOGUE = 1 << 18
# items beyond the k best that are scored again: near ties of the last one are among them as a rule
_SPARE = 32
_ROUNDING = 2.0**-24  # of float32, relative


def pays(states: int, items: int, threads: int) -> bool:
    """Whether :class:`QuantisedTopK`, which runs on one thread, takes less time than scoring every item in batches.

    Args:
        states: to be ranked in all.
        items: size of the catalogue.
        threads: of torch, which score a batch together.
    """
    return states == 1 or (threads == 1 and items >= _LARGE_CATALOGUE)


class QuantisedTopK:
    """Ranks the items of an embedding on the CPU, always with the weights that it has at the time.

    Args:
        embedding: on the CPU; its codes must not change any more.
    """

    def __init__(self, embedding: JointProductQuantisedItemEmbedding) -> None:
        self.embedding = embedding
        self.order = tie_break_order(embedding.items)
        self.catalogue = QuantisedCatalogue.from_embedding(embedding, self.order)
        self._codes = embedding.codes.numpy()
        self._place = np.empty(embedding.items, dtype=np.int64)
        self._place[self.order] = np.arange(embedding.items)

    @torch.inference_mode()
    def top_k(
        self, states: Tensor, k: int, excluded: Sequences | None = None, method: Method = "pqtopk"
    ) -> Recommendations:
        """The k best items of each state: those, and the scores, of ``ml.retrieval.top_k.top_k`` of ``score_all``.

        Args:
            states: ``[rows, dimensions]``. The result is that of ``score_all`` of the same states together.
            k: length of the lists, at least 1.
            excluded: items that a row must not get, one row each.
            method: of the catalogue; it does not change the result.

        Raises:
            ValueError: a score is not a number, k is below 1, or an excluded item is not in the catalogue.
        """
        books = self.embedding.books
        partial = self.embedding.partial_scores(states).T.contiguous().numpy().reshape(-1, books, CODES_PER_BOOK)
        largest = np.abs(partial).max(axis=2).sum(axis=1, dtype=np.float64)
        if not np.isfinite(largest.astype(np.float32)).all():
            return self._by_all_scores(partial, k, excluded)
        by_book = list(partial.transpose(1, 0, 2))
        found = self.catalogue.top_k_by_partial_scores(by_book, k + _SPARE, method, excluded)
        # Either way of adding has a rounding error of at most (books - 1) * rounding * largest. An item that is not
        # in the list and would be below the k-th by more than four times that error is not among the k best.
        doubt = 4 * books * _ROUNDING * largest
        is_certain = (found.items[:, -1] == NO_ITEM) | (found.scores[:, -1] < found.scores[:, k - 1] - doubt)
        result = self._ranked_again(partial, found.items, k)
        uncertain = np.flatnonzero(~is_certain)
        if len(uncertain):
            rest = self._by_all_scores(partial[uncertain], k, None if excluded is None else excluded.take(uncertain))
            result.items[uncertain], result.scores[uncertain] = rest.items, rest.scores
        return result

    def _ranked_again(self, partial: np.ndarray, items: np.ndarray, k: int) -> Recommendations:
        """The k best of each row's own items, ``NO_ITEM`` among them or not, int32 ``[rows, candidates]``."""
        is_item = items != NO_ITEM
        candidates = np.where(is_item, items, 0)
        rows = np.arange(len(items))[:, None]
        scores = partial[rows, 0, self._codes[candidates, 0]]
        for book in range(1, self.embedding.books):
            scores += partial[rows, book, self._codes[candidates, book]]
        scores += np.float32(0)  # -0.0 becomes 0.0
        scores[~is_item] = -np.inf
        ranked = np.lexsort((self._place[candidates], -scores), axis=1)[:, :k]
        return Recommendations(np.take_along_axis(items, ranked, axis=1), np.take_along_axis(scores, ranked, axis=1))

    def _by_all_scores(self, partial: np.ndarray, k: int, excluded: Sequences | None) -> Recommendations:
        """As the embedding does it: every item is scored."""
        scores = np.empty((len(partial), self.embedding.items), dtype=np.float32)
        for row, of_row in enumerate(partial):
            np.take(of_row[0], self._codes[:, 0], out=scores[row])
            for book in range(1, self.embedding.books):
                scores[row] += of_row[book].take(self._codes[:, book])
        if excluded is not None:
            exclude_seen(scores, excluded)
        return top_k(scores, k, self.order)
