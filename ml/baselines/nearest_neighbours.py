"""Nearest neighbours: items that stand in the same histories, and users with similar ones."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from ml.baselines.item_matrix import ItemToItem, best_by_sums, history_matrix, strongest, together, user_item_matrix
from ml.baselines.popularity import item_counts, popularity_order
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.graph import places
from ml.item_graph.histories import check_request, in_blocks
from ml.recommender import Recommendations
from ml.registry import Registered

REGISTERED = (
    Registered(
        name="item_knn",
        title="Item nearest neighbours",
        description=(
            "Items that stand in the same training histories as those of the history, by the cosine of the users that "
            "have them, shrunk where they are few; the most popular items where none does."
        ),
        source="Sarwar et al., WWW 2001; the shrinkage of Bell and Koren, ICDM 2007",
        path="ml.baselines.nearest_neighbours:ItemNearestNeighbours",
        needs=("chosen",),
        rank=200,
    ),
    Registered(
        name="user_knn",
        title="User nearest neighbours",
        description=(
            "Items of the users whose training histories are most similar, by the cosine of the items that they have; "
            "the most popular items where no user has one in common."
        ),
        source="Herlocker et al., SIGIR 1999, for lists instead of ratings",
        path="ml.baselines.nearest_neighbours:UserNearestNeighbours",
        needs=("chosen",),
        rank=210,
    ),
)

SHRINKAGE = 10.0
NEIGHBOURS_OF_AN_ITEM = 200
NEIGHBOURS_OF_A_USER = 100


class ItemNearestNeighbours(ItemToItem):
    """Ranks items by the sum of their similarities with the items of a history.

    The similarity of two items is ``together / (sqrt(users of one * users of the other) + shrinkage)``, with the users
    whose training histories hold both: the cosine of their columns of the users by items matrix, made smaller where it
    rests on few users. Each item keeps its 200 most similar ones. Neither how often an item is in a history counts, nor
    where it stands.
    """

    name = "item_knn"
    shrinkage = SHRINKAGE
    neighbours = NEIGHBOURS_OF_AN_ITEM

    def pairs(self, training_set: TrainingSet) -> sparse.csr_matrix:
        """Similarities of all items that stand in one training history."""
        matrix = user_item_matrix(training_set)
        both = together(matrix)
        norms = np.sqrt(np.asarray(matrix.sum(axis=0)).ravel())
        row = np.repeat(np.arange(both.shape[0]), np.diff(both.indptr))
        both.data /= norms[row] * norms[both.indices] + self.shrinkage
        return strongest(both, self.neighbours, places(popularity_order(self.counts)))


class UserNearestNeighbours:
    """Ranks items by the sum of the similarities of the users who have them.

    The similarity of a history and a training history is ``in common / sqrt(items of one * items of the other)``; the
    100 most similar training histories count. The training history of the user himself is one of them like any other:
    it holds nothing but items of his history, and so says nothing of the items that he does not have.
    """

    name = "user_knn"
    neighbours = NEIGHBOURS_OF_A_USER

    def __init__(self) -> None:
        self.counts = np.empty(0, dtype=np.int64)
        self.users = sparse.csr_matrix((0, 0))

    def fit(self, training_set: TrainingSet) -> Self:
        """Keep which items are in which training history."""
        self.counts = item_counts(training_set)
        self.users = user_item_matrix(training_set)
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The items of the most similar training histories, then the most popular others."""
        items = len(self.counts)
        check_request(histories, k, items)
        order = popularity_order(self.counts)
        lengths = np.diff(self.users.indptr)
        # equal similarities by the order of the users
        place = np.arange(len(lengths))
        by_item = self.users.T.tocsr()

        def answer(block: Sequences) -> Recommendations:
            own = history_matrix(block, items)
            common = (own @ by_item).tocsr()
            row = np.repeat(np.arange(len(block)), np.diff(common.indptr))
            common.data /= np.sqrt(np.diff(own.indptr)[row] * lengths[common.indices])
            scores = (strongest(common, self.neighbours, place) @ self.users).tocsr()
            return best_by_sums(scores, k, order, block if exclude_seen else None)

        return in_blocks(histories, k, 4 * items + 2 * len(lengths) + 2 * k, answer)

    def save(self, folder: Path) -> None:
        save_state(
            folder,
            self.name,
            {"items": len(self.counts)},
            {"counts": self.counts, "items": self.users.indices, "offsets": self.users.indptr},
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        _, arrays = load_state(folder, cls.name)
        recommender = cls()
        recommender.counts = arrays["counts"]
        shape = (len(arrays["offsets"]) - 1, len(recommender.counts))
        parts = (np.ones(len(arrays["items"])), arrays["items"], arrays["offsets"])
        recommender.users = sparse.csr_matrix(parts, shape=shape)
        return recommender
