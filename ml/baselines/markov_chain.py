"""What followed the last item, or stood beside it, in the training histories."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from ml.baselines.popularity import fill_by_popularity, item_counts, popularity_order, popularity_shares
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.graph import best_first, neighbours, places, transitions
from ml.item_graph.histories import check_request, in_blocks, last_items
from ml.recommender import NO_ITEM, Recommendations
from ml.registry import Registered

REGISTERED = (
    Registered(
        name="markov_chain",
        title="First-order Markov chain",
        description=(
            "Items that followed the last item most often in the training histories; equal counts, and the rest of "
            "the list, by popularity."
        ),
        source="Rendle, Freudenthaler and Schmidt-Thieme, WWW 2010 (the chain that is not factorised)",
        path="ml.baselines.markov_chain:MarkovChain",
        rank=60,
    ),
    Registered(
        name="markov_chain_undirected",
        title="First-order Markov chain, undirected",
        description=(
            "Items that stood beside the last item most often in the training histories, before it or after it; "
            "equal counts, and the rest of the list, by popularity. What it has over chance owes nothing to an order "
            "of ties."
        ),
        source="the chain above, on pairs without their order",
        path="ml.baselines.markov_chain:UndirectedMarkovChain",
        rank=70,
    ),
)


class MarkovChain:
    """Ranks items by ``P(next | last)``, estimated from pairs of consecutive training items.

    The score is ``P(next | last) + epsilon * share``: the second term is the item's share of the training
    interactions, scaled so that it never outweighs a difference of one transition. It orders items that
    followed equally often, and goes on with the most popular items where the followers end; a last item that
    nothing followed, and an empty history, have the most popular items alone.

    Source: the maximum-likelihood chain, not factorised and for baskets of one item, of Rendle, Freudenthaler
    and Schmidt-Thieme, "Factorizing personalized Markov chains for next-basket recommendation", WWW 2010.

    The followers of item ``i`` are ``followers[offsets[i]:offsets[i + 1]]``, best first, and ``transitions``
    holds how often each followed.
    """

    name = "markov_chain"

    def __init__(self) -> None:
        self.counts = np.empty(0, dtype=np.int64)
        self.followers = np.empty(0, dtype=np.int32)
        self.transitions = np.empty(0, dtype=np.int64)
        self.offsets = np.zeros(1, dtype=np.int64)

    def fit(self, training_set: TrainingSet) -> Self:
        """Count the transitions between consecutive items of the training histories."""
        self.counts = item_counts(training_set)
        graph = self._graph(training_set)
        order = best_first(graph, places(popularity_order(self.counts)))
        self.followers = graph.indices[order].astype(np.int32)
        self.transitions = graph.data[order].astype(np.int64)
        self.offsets = graph.indptr.astype(np.int64)
        return self

    @staticmethod
    def _graph(training_set: TrainingSet) -> sparse.csr_matrix:
        """The pairs that count, ``[last, next]``."""
        return transitions(training_set)

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The followers of the last item, then the most popular others."""
        check_request(histories, k, len(self.counts))
        order = popularity_order(self.counts)
        # a row of n transitions has probabilities at least 1 / n apart
        totals = np.diff(np.concatenate([[0], np.cumsum(self.transitions)])[self.offsets])
        popularity = popularity_shares(self.counts) / (1 + totals.max(initial=0))
        longest = int(histories.lengths.max(initial=0)) if exclude_seen else 0
        width = min(k + longest, int(np.diff(self.offsets).max(initial=0)))

        def answer(block: Sequences) -> Recommendations:
            last = last_items(block)
            known = np.maximum(last, 0)
            start, end = self.offsets[known], self.offsets[known + 1]
            end = np.where(last == NO_ITEM, start, end)
            column = start[:, None] + np.arange(width)
            exists = column < end[:, None]
            column = np.where(exists, column, 0)
            followers = np.where(exists, self.followers[column], NO_ITEM)
            probability = self.transitions[column] / np.maximum(1, totals[known])[:, None]
            return fill_by_popularity(
                followers,
                probability + popularity[followers],
                block,
                k,
                exclude_seen,
                order,
                popularity,
            )

        return in_blocks(histories, k, 2 * (width + k + longest), answer)

    def save(self, folder: Path) -> None:
        arrays: dict[str, np.ndarray] = {
            "counts": self.counts,
            "followers": self.followers,
            "transitions": self.transitions,
            "offsets": self.offsets,
        }
        save_state(folder, self.name, {}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        _, arrays = load_state(folder, cls.name)
        recommender = cls()
        recommender.counts = arrays["counts"]
        recommender.followers = arrays["followers"]
        recommender.transitions = arrays["transitions"]
        recommender.offsets = arrays["offsets"]
        return recommender


class UndirectedMarkovChain(MarkovChain):
    """Ranks items by how often they stood beside the last item, before it or after it.

    The chain of :class:`MarkovChain` on pairs without their order, which an order of ties cannot improve: where items
    of one day stand in the order of the file, part of what a directed chain finds is that order.
    """

    name = "markov_chain_undirected"

    @staticmethod
    def _graph(training_set: TrainingSet) -> sparse.csr_matrix:
        return neighbours(training_set)
