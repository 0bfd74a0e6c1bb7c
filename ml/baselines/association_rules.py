"""Association rules between two items: who has the one has the other."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from scipy import sparse

from ml.baselines.item_matrix import best_by_sums, history_matrix, together, user_item_matrix
from ml.baselines.popularity import item_counts, popularity_order
from ml.baselines.save_load import load_state, save_state
from ml.data.training_set import Sequences, TrainingSet
from ml.item_graph.graph import graph_arrays, graph_from_arrays
from ml.item_graph.histories import check_request, in_blocks
from ml.recommender import Recommendations
from ml.registry import Registered

REGISTERED = (
    Registered(
        name="rules_support",
        title="Association rules, support",
        description="Items that are most often in one training history with those of the history.",
        source="Agrawal, Imielinski and Swami, SIGMOD 1993",
        path="ml.baselines.association_rules:SupportRules",
        needs=("chosen",),
        rank=220,
    ),
    Registered(
        name="rules_confidence",
        title="Association rules, confidence",
        description="Items that most of those have who have the items of the history.",
        source="Agrawal, Imielinski and Swami, SIGMOD 1993",
        path="ml.baselines.association_rules:ConfidenceRules",
        needs=("chosen",),
        rank=221,
    ),
    Registered(
        name="rules_lift",
        title="Association rules, lift",
        description=(
            "Items that are in one training history with those of the history more often than they would be by chance, "
            "in two histories at least."
        ),
        source="Brin et al., SIGMOD 1997 (there called interest)",
        path="ml.baselines.association_rules:LiftRules",
        needs=("chosen",),
        rank=222,
    ),
)

LEAST_SUPPORT_OF_LIFT = 2


class SupportRules:
    """Ranks items by the sum of the strengths of the rules from the items of a history to them.

    The strength of a rule from ``a`` to ``b`` is its support: the share of the training histories that hold both,
    wherever they stand. Items that no rule leads to follow by popularity.
    """

    name: ClassVar[str] = "rules_support"
    least_support: ClassVar[int] = 1

    def __init__(self) -> None:
        self.counts = np.empty(0, dtype=np.int64)
        self.rules = sparse.csr_matrix((0, 0))

    def fit(self, training_set: TrainingSet) -> Self:
        """Count which items are in one training history."""
        self.counts = item_counts(training_set)
        matrix = user_item_matrix(training_set)
        users = np.asarray(matrix.sum(axis=0)).ravel()
        both = together(matrix)
        both.data[both.data < self.least_support] = 0
        both.eliminate_zeros()
        row = np.repeat(np.arange(both.shape[0]), np.diff(both.indptr))
        both.data = self.strength(both.data, users[row], users[both.indices], matrix.shape[0])
        self.rules = both
        return self

    @staticmethod
    def strength(both: np.ndarray, first: np.ndarray, second: np.ndarray, histories: int) -> np.ndarray:
        """The strength of rules, ``[rules]``.

        Args:
            both: histories that hold both items.
            first: histories that hold the item of the history.
            second: histories that hold the item that the rule leads to.
            histories: of all users.
        """
        return both / histories

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The items that the strongest rules lead to, then the most popular others."""
        items = len(self.counts)
        check_request(histories, k, items)
        order = popularity_order(self.counts)

        def answer(block: Sequences) -> Recommendations:
            scores = (history_matrix(block, items) @ self.rules).tocsr()
            return best_by_sums(scores, k, order, block if exclude_seen else None)

        return in_blocks(histories, k, 4 * items + 2 * k, answer)

    def save(self, folder: Path) -> None:
        save_state(folder, self.name, {}, {"counts": self.counts, **graph_arrays(self.rules)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        _, arrays = load_state(folder, cls.name)
        recommender = cls()
        recommender.counts = arrays["counts"]
        recommender.rules = graph_from_arrays(arrays)
        return recommender


class ConfidenceRules(SupportRules):
    """The strength of a rule is its confidence: of the histories that hold ``a``, the share that holds ``b``."""

    name = "rules_confidence"

    @staticmethod
    def strength(both: np.ndarray, first: np.ndarray, second: np.ndarray, histories: int) -> np.ndarray:
        return both / first


class LiftRules(SupportRules):
    """The strength of a rule is its lift: the share of the histories that hold both, divided by what it would be if the
    items were independent. Rules that rest on one history are left out: of rare items they have the largest lift."""

    name = "rules_lift"
    least_support = LEAST_SUPPORT_OF_LIFT

    @staticmethod
    def strength(both: np.ndarray, first: np.ndarray, second: np.ndarray, histories: int) -> np.ndarray:
        return both * histories / (first * second)
