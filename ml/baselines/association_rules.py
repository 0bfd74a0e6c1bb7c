"""Association rules between two items: who has the one has the other."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy import sparse

from ml.baselines.item_matrix import ItemToItem, together, user_item_matrix
from ml.data.training_set import TrainingSet
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


class SupportRules(ItemToItem):
    """Ranks items by the sum of the strengths of the rules from the items of a history to them.

    The strength of a rule from ``a`` to ``b`` is its support: the share of the training histories that hold both,
    wherever they stand. Items that no rule leads to follow by popularity.
    """

    name: ClassVar[str] = "rules_support"
    least_support: ClassVar[int] = 1

    def pairs(self, training_set: TrainingSet) -> sparse.csr_matrix:
        """Strengths of the rules between all items that are in one training history."""
        matrix = user_item_matrix(training_set)
        users = np.asarray(matrix.sum(axis=0)).ravel()
        both = together(matrix)
        both.data[both.data < self.least_support] = 0
        both.eliminate_zeros()
        row = np.repeat(np.arange(both.shape[0]), np.diff(both.indptr))
        both.data = self.strength(both.data, users[row], users[both.indices], matrix.shape[0])
        return both

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
