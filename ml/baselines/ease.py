"""EASE: a linear autoencoder in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from ml.baselines.item_matrix import history_matrix, user_item_matrix
from ml.baselines.popularity import item_counts, popularity_order
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.graph import places
from ml.item_graph.histories import check_request, in_blocks
from ml.recommender import NO_ITEM, Recommendations
from ml.registry import Registered

REGISTERED = Registered(
    name="ease",
    title="EASE",
    description=(
        "Each item as a weighted sum of the other items of a history; the weights, which may be negative, are those of "
        "a ridge regression over all training histories."
    ),
    source="Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019",
    path="ml.baselines.ease:Ease",
    needs=("chosen",),
    rank=230,
)

REGULARISATION = 100.0
# the inverse takes two matrices of float64, 6.4 GB together at this number
MOST_ITEMS = 20_000


class Ease:
    """Ranks items by ``x B``, where ``x`` says which items are in the history.

    With ``P = (X'X + regularisation * I)^-1`` of the users by items matrix ``X``, ``B[i, j] = -P[i, j] / P[j, j]`` off
    the diagonal and 0 on it (equation 8 of the paper). In a larger catalogue the 20,000 most popular items have
    weights, and all others follow by popularity. Fitted in float64, kept in float32.
    """

    name = "ease"
    regularisation = REGULARISATION
    most_items = MOST_ITEMS

    def __init__(self) -> None:
        self.counts = np.empty(0, dtype=np.int64)
        # items that have weights, ascending, and the weights between them
        self.known = np.empty(0, dtype=np.int64)
        self.weights = np.empty((0, 0), dtype=np.float32)

    def fit(self, training_set: TrainingSet) -> Self:
        """Solve the regression; one inverse of a matrix as large as the catalogue."""
        self.counts = item_counts(training_set)
        popular = popularity_order(self.counts)[: self.most_items]
        self.known = np.sort(popular[self.counts[popular] > 0])
        matrix = user_item_matrix(training_set)[:, self.known]
        gram = (matrix.T @ matrix).toarray()
        gram[np.diag_indices_from(gram)] += self.regularisation
        inverse = np.linalg.inv(gram)
        self.weights = np.divide(inverse, -np.diag(inverse), out=gram).astype(np.float32)
        np.fill_diagonal(self.weights, 0)
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The items with the highest scores; those of equal score, and those without weights, by popularity."""
        items = len(self.counts)
        check_request(histories, k, items)
        order = popularity_order(self.counts)
        place = places(order)

        def answer(block: Sequences) -> Recommendations:
            scores = np.zeros((len(block), items), dtype=np.float32)
            scores[:, self.known] = history_matrix(block, items)[:, self.known].astype(np.float32) @ self.weights
            return best_of(scores, k, order, place, block if exclude_seen else None)

        return in_blocks(histories, k, 5 * items + 2 * k, answer)

    def save(self, folder: Path) -> None:
        save_state(folder, self.name, {}, {"counts": self.counts, "known": self.known, "weights": self.weights})

    @classmethod
    def load(cls, folder: Path) -> Self:
        _, arrays = load_state(folder, cls.name)
        recommender = cls()
        recommender.counts, recommender.known = arrays["counts"], arrays["known"]
        recommender.weights = arrays["weights"]
        return recommender


def best_of(
    scores: np.ndarray, k: int, order: np.ndarray, place: np.ndarray, seen: Sequences | None
) -> Recommendations:
    """The k highest scores of each row, equal ones by the order that breaks ties.

    Args:
        scores: float32 ``[rows, items]``; overwritten.
        k: length of the lists.
        order: breaks ties, ``[items]``.
        place: of each item in it, ``[items]``.
        seen: histories whose items are left out; ``None``: nothing is.
    """
    rows, items = scores.shape
    if seen is not None:
        scores[np.repeat(np.arange(rows), seen.lengths), seen.items] = -np.inf
    depth = min(k, items)
    # float32 as integers in the same order (IEEE 754), so that one integer holds score and place
    bits = (scores + np.float32(0.0)).view(np.int32).astype(np.int64)
    ascending = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    keys = (ascending << 31) + (items - 1 - place)
    keys.partition(items - depth, axis=1)
    best = np.sort(keys[:, items - depth :], axis=1)[:, ::-1]
    winners = order[items - 1 - (best & ((1 << 31) - 1))]
    found = np.take_along_axis(scores, winners, axis=1)
    answer = Recommendations(np.full((rows, k), NO_ITEM, dtype=np.int32), np.full((rows, k), -np.inf, dtype=np.float32))
    answer.items[:, :depth] = np.where(np.isneginf(found), NO_ITEM, winners)
    answer.scores[:, :depth] = found
    return answer
