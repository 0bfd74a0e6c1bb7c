"""What is near the last two items in the graph of items that met side by side in a history."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sparse

from ml.baselines.histories import check_request, in_blocks
from ml.baselines.popularity import fill_by_popularity, item_counts, popularity_order, popularity_shares
from ml.baselines.storage import load_state, save_state
from ml.data.training_set import Sequences, TrainingSet
from ml.recommender import NO_ITEM, Recommendations

SECOND_LAST = 0.5
TWO_HOPS = 0.3
# below any score of a neighbour, so that what fills a list up never overtakes one
_FILLING = 1e-12


class TwoHopGraph:
    """Ranks items by a short walk from the last items over the undirected graph of neighbours.

    Two items are joined for each time they stood side by side in a training history, whichever came first: the
    graph knows nothing of direction, so that an order of ties carries less into it than into a Markov chain.
    With ``P`` its matrix, rows summing to 1, the score is ``P[last] + 0.5 P[second last] + 0.3 (P P)[last]``;
    where the walk does not reach, the most popular items follow.

    The training-free family is that of item-to-item graphs (as in the graph heuristic of arXiv 2605.07125); the
    weights are fixed, not fitted.
    """

    name = "two_hop_graph"

    def __init__(self) -> None:
        self.counts = np.empty(0, dtype=np.int64)
        self.graph = sparse.csr_matrix((0, 0))

    def fit(self, training_set: TrainingSet) -> Self:
        """Count how often items stood side by side in the training histories."""
        items, train = training_set.items, training_set.train
        self.counts = item_counts(training_set)
        row = np.repeat(np.arange(len(train)), train.lengths)
        within = np.flatnonzero(row[1:] == row[:-1])
        pairs = (train.items[within], train.items[within + 1])
        directed = sparse.csr_matrix((np.ones(len(within)), pairs), shape=(items, items))
        met = (directed + directed.T).tocsr()
        met.sum_duplicates()
        degree = np.asarray(met.sum(axis=1)).ravel()
        self.graph = sparse.diags(1 / np.maximum(1, degree)).dot(met).tocsr()
        self.graph.sort_indices()
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The items the walk reaches, best first, then the most popular others."""
        items = len(self.counts)
        check_request(histories, k, items)
        order = popularity_order(self.counts)
        place = np.empty(items, dtype=np.int64)
        place[order] = np.arange(items)
        filling = _FILLING * popularity_shares(self.counts)
        longest = int(histories.lengths.max(initial=0)) if exclude_seen else 0

        def answer(block: Sequences) -> Recommendations:
            step = _from(block, 1, items) @ self.graph
            scores = (
                step + SECOND_LAST * (_from(block, 2, items) @ self.graph) + TWO_HOPS * (step @ self.graph)
            ).tocsr()
            reached, values = _best(scores, place, k + longest)
            return fill_by_popularity(reached, values, block, k, exclude_seen, order, filling)

        # the walk may reach every item from each row
        return in_blocks(histories, k, items + 2 * (k + longest), answer)

    def save(self, folder: Path) -> None:
        arrays = {
            "counts": self.counts,
            "neighbours": self.graph.indices,
            "probabilities": self.graph.data,
            "offsets": self.graph.indptr,
        }
        save_state(folder, self.name, {}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        _, arrays = load_state(folder, cls.name)
        recommender = cls()
        recommender.counts = arrays["counts"]
        items = len(recommender.counts)
        graph = (arrays["probabilities"], arrays["neighbours"], arrays["offsets"])
        recommender.graph = sparse.csr_matrix(graph, shape=(items, items))
        return recommender


def _from(histories: Sequences, place_from_end: int, items: int) -> sparse.csr_matrix:
    """A one at the item that stands so far from the end of each history, ``[rows, items]``; an empty row without."""
    exists = histories.lengths >= place_from_end
    starts = np.asarray(histories.items)[histories.offsets[1:][exists] - place_from_end]
    offsets = np.concatenate([[0], np.cumsum(exists)])
    return sparse.csr_matrix((np.ones(len(starts)), starts, offsets), shape=(len(histories), items))


def _best(scores: sparse.csr_matrix, place: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The best items of each row and their scores, equal ones by their place, ``[rows, width]`` each."""
    rows = scores.shape[0]
    row = np.repeat(np.arange(rows), np.diff(scores.indptr))
    # sums of the same terms in another order differ in the last bits, and must not break a tie
    value = np.round(scores.data, 12)
    best_first = np.lexsort((place[scores.indices], -value, row))
    rank = np.arange(len(row)) - scores.indptr[row]
    kept = rank < width
    items = np.full((rows, width), NO_ITEM, dtype=np.int32)
    values = np.zeros((rows, width))
    items[row[kept], rank[kept]] = scores.indices[best_first][kept]
    values[row[kept], rank[kept]] = value[best_first][kept]
    return items, values
