"""What is near the last items in the graph of items that stood side by side in a history."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from ml.baselines.popularity import item_counts, popularity_order
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.graph import (
    best_reached,
    graph_arrays,
    graph_from_arrays,
    neighbours,
    probabilities,
    start_at,
)
from ml.item_graph.histories import check_request, in_blocks
from ml.recommender import Recommendations
from ml.registry import Registered

REGISTERED = (
    Registered(
        name="two_hop_graph",
        title="Two-hop item graph",
        description=(
            "Items one or two steps from the last item, and one from the item before it, in the undirected graph of "
            "items that stood side by side in the training histories; the most popular items where it does not reach."
        ),
        source="the family of item-to-item graphs (arXiv 2605.07125), weights fixed here",
        path="ml.baselines.two_hop_graph:TwoHopGraph",
        rank=80,
    ),
    Registered(
        name="two_hop_graph_decay",
        title="Two-hop item graph with decay",
        description=(
            "Items one or two steps from the last ten items in the same graph, each of the ten weighing 0.6 of the "
            "one after it; the most popular items where it does not reach."
        ),
        source="the family of item-to-item graphs (arXiv 2605.07125), weights fixed here",
        path="ml.baselines.two_hop_graph:TwoHopGraphDecay",
        rank=90,
    ),
)

SECOND_LAST = 0.5
TWO_HOPS = 0.3
DECAY = 0.6
DECAYING_ITEMS = 10


class TwoHopGraph:
    """Ranks items by a short walk from the last items over the undirected graph of neighbours.

    Two items are joined for each time they stood side by side in a training history, whichever came first: the
    graph knows nothing of direction, so that an order of ties carries less into it than into a Markov chain.
    With ``P`` its matrix, rows summing to 1, the score is ``P[last] + 0.5 P[second last] + 0.3 (P P)[last]``;
    where the walk does not reach, the most popular items follow, with score 0.

    The training-free family is that of item-to-item graphs (as in the graph heuristic of arXiv 2605.07125); the
    weights are fixed, not fitted.
    """

    name = "two_hop_graph"
    one_hop: tuple[float, ...] = (1.0, SECOND_LAST)
    """Weight of one step from the last item, from the one before it, and so on."""
    two_hops: tuple[float, ...] = (TWO_HOPS,)
    """Weight of two steps from each of them."""

    def __init__(self) -> None:
        self.counts = np.empty(0, dtype=np.int64)
        self.graph = sparse.csr_matrix((0, 0))
        # of the counts, made once
        self._order: np.ndarray | None = None

    def fit(self, training_set: TrainingSet) -> Self:
        """Count how often items stood side by side in the training histories."""
        self.counts = item_counts(training_set)
        self.graph = probabilities(neighbours(training_set))
        self._order = None
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The items the walk reaches, best first, then the most popular others."""
        items = len(self.counts)
        check_request(histories, k, items)
        if self._order is None:
            self._order = popularity_order(self.counts)
        order = self._order

        def answer(block: Sequences) -> Recommendations:
            one = start_at(block, self.one_hop, items) @ self.graph
            two = (start_at(block, self.two_hops, items) @ self.graph) @ self.graph
            return best_reached((one + two).tocsr(), k, order, block if exclude_seen else None)

        # the walk may reach every item from each row; a key takes the room of two scores
        return in_blocks(histories, k, 4 * items + 2 * k, answer)

    def save(self, folder: Path) -> None:
        save_state(folder, self.name, {}, {"counts": self.counts, **graph_arrays(self.graph)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        _, arrays = load_state(folder, cls.name)
        recommender = cls()
        recommender.counts = arrays["counts"]
        recommender.graph = graph_from_arrays(arrays)
        return recommender


class TwoHopGraphDecay(TwoHopGraph):
    """The walk of :class:`TwoHopGraph` from the last ten items, each weighing 0.6 of the one after it.

    The score is ``sum over j < 10 of 0.6^j (P + 0.3 P P)[item j from the end]``. Where histories are long and
    interests last, more of the history says more than its last item alone.
    """

    name = "two_hop_graph_decay"
    one_hop = tuple(DECAY**back for back in range(DECAYING_ITEMS))
    two_hops = tuple(TWO_HOPS * DECAY**back for back in range(DECAYING_ITEMS))
