"""Matrix factorisation by alternating least squares, through the library ``implicit``."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from ml.baselines.ease import best_of
from ml.baselines.item_matrix import history_matrix, user_item_matrix
from ml.baselines.popularity import item_counts, popularity_order
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.extras import require
from ml.item_graph.graph import places
from ml.item_graph.histories import check_request, in_blocks
from ml.recommender import Recommendations
from ml.registry import Registered

REGISTERED = Registered(
    name="als",
    title="ALS",
    description=(
        "Vectors of users and items whose products are 1 for the items of a history and 0 for all others, the former "
        "weighing more; the vector of a history is solved for from the vectors of its items."
    ),
    source="Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008, by implicit",
    path="ml.baselines.als:AlternatingLeastSquares",
    needs=("chosen", "seed", "als"),
    rank=240,
)

FACTORS = 64
REGULARISATION = 0.1
# the weight of an item of a history where any other item weighs 1, as in the paper
CONFIDENCE = 40.0
ITERATIONS = 15


class AlternatingLeastSquares:
    """Ranks items by ``x y_i``, where ``y_i`` is the vector of an item, fitted by ``implicit``.

    The vector of a history solves ``(Y'Y + (c - 1) sum y_i y_i' + regularisation * I) x = c sum y_i``, sums over its
    items, ``c`` the confidence (equation 4 of the paper). It is solved for from the history that is asked about, so
    users need no vectors of their own, and nothing but fitting needs ``implicit``.

    Args:
        seed: of the vectors that the fit starts from.
    """

    name = "als"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.counts = np.empty(0, dtype=np.int64)
        self.vectors = np.empty((0, FACTORS), dtype=np.float32)

    def fit(self, training_set: TrainingSet) -> Self:
        """Alternate between the vectors of users and items.

        Raises:
            MissingExtra: ``implicit`` is not installed.
        """
        require("als", "the baseline als")
        from implicit.cpu.als import AlternatingLeastSquares as Fitted

        self.counts = item_counts(training_set)
        fitted = Fitted(
            factors=FACTORS,
            regularization=REGULARISATION,
            alpha=CONFIDENCE,
            iterations=ITERATIONS,
            random_state=self.seed,
        )
        fitted.fit(user_item_matrix(training_set).astype(np.float32), show_progress=False)
        self.vectors = np.asarray(fitted.item_factors)
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The items with the highest scores; equal ones by popularity."""
        items = len(self.counts)
        check_request(histories, k, items)
        order = popularity_order(self.counts)
        place = places(order)
        vectors = self.vectors.astype(np.float64)
        gram = vectors.T @ vectors + REGULARISATION * np.eye(FACTORS)

        def answer(block: Sequences) -> Recommendations:
            asked = _solved(history_matrix(block, items), vectors, gram)
            scores = (asked @ vectors.T).astype(np.float32)
            return best_of(scores, k, order, place, block if exclude_seen else None)

        longest = int(histories.lengths.max(initial=0))
        return in_blocks(histories, k, 7 * items + 2 * k + FACTORS * (3 * FACTORS + 2 * longest), answer)

    def save(self, folder: Path) -> None:
        save_state(folder, self.name, {"seed": self.seed}, {"counts": self.counts, "vectors": self.vectors})

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings, arrays = load_state(folder, cls.name)
        recommender = cls(settings["seed"])
        recommender.counts, recommender.vectors = arrays["counts"], arrays["vectors"]
        return recommender


def _solved(histories: sparse.csr_matrix, vectors: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """The vector of each history, float64 ``[rows, factors]``.

    Args:
        histories: which items are in each, ``[rows, items]``.
        vectors: of items, float64 ``[items, factors]``.
        gram: ``Y'Y + regularisation * I``.
    """
    lengths = np.diff(histories.indptr)
    row = np.repeat(np.arange(len(lengths)), lengths)
    column = np.arange(len(row)) - np.repeat(histories.indptr[:-1], lengths)
    # vectors of the items of each history, zeros behind them
    padded = np.zeros((len(lengths), max(int(lengths.max(initial=0)), 1), vectors.shape[1]))
    padded[row, column] = vectors[histories.indices]
    systems = gram + (CONFIDENCE - 1) * (padded.transpose(0, 2, 1) @ padded)
    return np.linalg.solve(systems, CONFIDENCE * padded.sum(axis=1)[..., None])[..., 0]
