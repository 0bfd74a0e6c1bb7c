"""The last item once more, then the most popular ones."""

from __future__ import annotations

import numpy as np

from ml.baselines.most_popular import MostPopular
from ml.data.sequences import Sequences
from ml.item_graph.histories import last_items
from ml.registry import Registered

REGISTERED = Registered(
    name="repeat_last",
    title="Repeat last, then most popular",
    description=(
        "The last item of the history first, then the most popular ones. Where seen items are excluded nothing is "
        "left to repeat, and it ranks as the most popular does."
    ),
    source='Acharya, "A primer on generative recommendation, part 1" (2025), table of training-free baselines',
    path="ml.baselines.repeat_last:RepeatLast",
    rank=40,
)


class RepeatLast(MostPopular):
    """Ranks the last item of the history first and fills the list by popularity.

    Strong where repeated purchases, or duplicates left in the data, make up many targets: its score measures
    them. With ``exclude_seen`` the repeated item is left out, and the ranking is that of the most popular.
    An empty history has the most popular items. The score is the item's share of the training interactions,
    plus 1 for the repeated item.
    """

    name = "repeat_last"

    def _preferred(self, block: Sequences, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        repeated = last_items(block)[:, None]
        # an empty history repeats NO_ITEM, which no score is read for
        return repeated, 1 + shares[repeated]
