"""The most popular items, for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from ml.baselines.popularity import fill_by_popularity, item_counts, popularity_order, popularity_shares
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.histories import check_request, in_blocks
from ml.recommender import Recommendations
from ml.registry import Registered

REGISTERED = Registered(
    name="most_popular",
    title="Most popular",
    description="The items with the most training interactions, the same for every user.",
    source="Cremonesi, Koren and Turrin, RecSys 2010, section 3.1 (Top Popular)",
    path="ml.baselines.most_popular:MostPopular",
    rank=30,
)


class MostPopular:
    """Ranks items by their number of training interactions.

    The score is the item's share of the training interactions. Source: Cremonesi, Koren and Turrin,
    "Performance of recommender algorithms on top-n recommendation tasks", RecSys 2010, section 3.1.
    """

    name = "most_popular"

    def __init__(self) -> None:
        self.counts = np.empty(0, dtype=np.int64)

    def fit(self, training_set: TrainingSet) -> Self:
        """Count the training interactions of each item."""
        self.counts = item_counts(training_set)
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The same list for every history, less the items seen where ``exclude_seen`` is set."""
        check_request(histories, k, len(self.counts))
        order = popularity_order(self.counts)
        shares = popularity_shares(self.counts)

        def answer(block: Sequences) -> Recommendations:
            items, scores = self._preferred(block, shares)
            return fill_by_popularity(items, scores, block, k, exclude_seen, order, shares)

        longest = int(histories.lengths.max(initial=0)) if exclude_seen else 0
        return in_blocks(histories, k, 1 + k + longest, answer)

    def _preferred(self, block: Sequences, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Items to stand before the popular ones, and their scores, ``[rows, some]`` each: here none."""
        nothing = np.empty((len(block), 0), dtype=np.int64)
        return nothing, nothing

    def save(self, folder: Path) -> None:
        save_state(folder, self.name, {}, {"counts": self.counts})

    @classmethod
    def load(cls, folder: Path) -> Self:
        _, arrays = load_state(folder, cls.name)
        recommender = cls()
        recommender.counts = arrays["counts"]
        return recommender
