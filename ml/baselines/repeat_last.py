"""The last item once more, then the most popular ones."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from ml.baselines.histories import check_request, in_blocks, last_items
from ml.baselines.popularity import fill_by_popularity, item_counts, popularity_order, popularity_shares
from ml.baselines.storage import load_state, save_state
from ml.data.training_set import Sequences, TrainingSet
from ml.recommender import Recommendations


class RepeatLast:
    """Ranks the last item of the history first and fills the list by popularity.

    Strong where repeated purchases, or duplicates left in the data, make up many targets: its score measures
    them. With ``exclude_seen`` the repeated item is left out, and the ranking is that of the most popular.
    An empty history has the most popular items. The score is the item's share of the training interactions,
    plus 1 for the repeated item.
    """

    name = "repeat_last"

    def __init__(self) -> None:
        self.counts = np.empty(0, dtype=np.int64)

    def fit(self, training_set: TrainingSet) -> Self:
        """Count the training interactions of each item."""
        self.counts = item_counts(training_set)
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The last item, then the most popular others."""
        check_request(histories, k, len(self.counts))
        order = popularity_order(self.counts)
        shares = popularity_shares(self.counts)

        def answer(block: Sequences) -> Recommendations:
            repeated = last_items(block)[:, None]
            # an empty history repeats NO_ITEM, which no score is read for
            return fill_by_popularity(repeated, 1 + shares[repeated], block, k, exclude_seen, order, shares)

        longest = int(histories.lengths.max(initial=0)) if exclude_seen else 0
        return in_blocks(histories, k, 1 + k + longest, answer)

    def save(self, folder: Path) -> None:
        save_state(folder, self.name, {}, {"counts": self.counts})

    @classmethod
    def load(cls, folder: Path) -> Self:
        _, arrays = load_state(folder, cls.name)
        recommender = cls()
        recommender.counts = arrays["counts"]
        return recommender
