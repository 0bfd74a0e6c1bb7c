"""Lists from queries: BM25 over the catalogue, and the lists of several queries merged into one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from ml.baselines.popularity import fill_by_popularity, popularity_order, popularity_shares
from ml.data.sequences import Sequences
from ml.language_models.queries import Query
from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.bm25 import query_words
from ml.retrieval.top_k import exclude_seen as exclude_seen_items
from ml.retrieval.top_k import tie_break_order, top_k

WEIGHTED, IN_TURNS = "weighted", "in_turns"
# 64 MiB of float32 scores
_CELLS_AT_ONCE = 1 << 24


class QuerySearch:
    """Ranks a catalogue by queries, and fills lists up with popular items.

    Scores of found items are above 1: 1 plus the weighted sum of BM25 scores for ``weighted``, 1 plus the reciprocal of
    the rank for ``in_turns``. Items that fill a list up have their share of the training interactions.

    Args:
        stems: vocabulary of the index.
        weights: weight of each word for each item, float32 ``[vocabulary, items]`` (:mod:`ml.retrieval.bm25`).
        counts: training interactions of each item, int64 ``[items]``.
        merge: ``weighted`` or ``in_turns`` (:class:`ml.language_models.recipe.QuerySettings`).
    """

    def __init__(self, stems: Sequence[str], weights: sparse.csr_array, counts: np.ndarray, merge: str) -> None:
        self.stems = tuple(stems)
        self.weights = weights
        self.counts = counts
        self.merge = merge

    def lists(
        self, queries: Sequence[Sequence[Query]], histories: Sequences, k: int, exclude_seen: bool
    ) -> Recommendations:
        """The k best items for the queries of each history; without queries the most popular ones.

        Args:
            queries: of each row, the most probable first.
            histories: one a row.
            k: length of the lists.
            exclude_seen: whether the items of a row's history are left out.
        """
        items = len(self.counts)
        order, shares = popularity_order(self.counts), popularity_shares(self.counts)
        depth = min(k, items)
        widest = max(map(len, queries), default=0)
        find = self._weighted if self.merge == WEIGHTED else self._in_turns
        # scores of a row, or of each of its queries
        width = items * (1 if self.merge == WEIGHTED else max(1, widest))
        step = max(1, _CELLS_AT_ONCE // width)
        answer = Recommendations(
            np.empty((len(histories), k), dtype=np.int32), np.empty((len(histories), k), dtype=np.float32)
        )
        for start in range(0, len(histories), step):
            rows = np.arange(start, min(start + step, len(histories)))
            block = histories.take(rows)
            found = find([queries[row] for row in rows.tolist()], block, depth, exclude_seen)
            filled = fill_by_popularity(found.items, found.scores, block, k, exclude_seen, order, shares)
            answer.items[rows], answer.scores[rows] = filled.items, filled.scores
        return answer

    def _weighted(
        self, queries: Sequence[Sequence[Query]], histories: Sequences, depth: int, exclude_seen: bool
    ) -> Recommendations:
        """Items by the sum of their scores for all queries of a row, weighted by the probabilities."""
        owner = np.repeat(np.arange(len(queries)), [len(each) for each in queries])
        probability = np.array([query.probability for each in queries for query in each], dtype=np.float32)
        words = query_words([query.text for each in queries for query in each], self.stems)
        # a sum of scores is the score of the weighted sum of the words, so that one product finds it
        shape = (len(queries), len(owner))
        merged = sparse.csr_array((probability, (owner, np.arange(len(owner)))), shape=shape) @ words
        scores = (merged @ self.weights).toarray()
        scores[scores <= 0] = -np.inf
        if exclude_seen:
            exclude_seen_items(scores, histories)
        best = top_k(scores, depth, tie_break_order(len(self.counts)))
        return Recommendations(best.items, best.scores + np.float32(1))

    def _in_turns(
        self, queries: Sequence[Sequence[Query]], histories: Sequences, depth: int, exclude_seen: bool
    ) -> Recommendations:
        """The best item of each query of a row, then the second best of each, without repetition."""
        owner = np.repeat(np.arange(len(queries)), [len(each) for each in queries])
        words = query_words([query.text for each in queries for query in each], self.stems)
        scores = (words @ self.weights).toarray()
        scores[scores <= 0] = -np.inf
        if exclude_seen:
            exclude_seen_items(scores, histories.take(owner))
        best = top_k(scores, depth, tie_break_order(len(self.counts))).items
        found = np.full((len(queries), depth), NO_ITEM, dtype=np.int64)
        for row in range(len(queries)):
            turns = best[owner == row].T.ravel()
            chosen = list(dict.fromkeys(turns[turns != NO_ITEM].tolist()))[:depth]
            found[row, : len(chosen)] = chosen
        ranks = np.broadcast_to(1 / np.arange(1, depth + 1), found.shape)
        return Recommendations(found, np.where(found == NO_ITEM, -np.inf, 1 + ranks))
