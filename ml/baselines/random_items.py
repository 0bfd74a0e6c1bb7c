"""Items in random order."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from ml.baselines.hash_random import history_keys, uniform
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.histories import check_request, in_blocks
from ml.recommender import Recommendations
from ml.registry import Registered
from ml.retrieval.top_k import exclude_seen as exclude_seen_items
from ml.retrieval.top_k import tie_break_order, top_k

REGISTERED = Registered(
    name="random",
    title="Random",
    description="Items of the catalogue in random order, every item as likely as any other.",
    source='Acharya, "A primer on generative recommendation, part 1" (2025), table of training-free baselines',
    path="ml.baselines.random_items:RandomItems",
    needs=("seed",),
    rank=10,
)


class RandomItems:
    """Ranks the catalogue in an order drawn uniformly, without replacement.

    The draw is a function of the seed and the history, so users with equal histories have equal lists. The
    score is the number drawn, between 0 and 1.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.items = 0

    def fit(self, training_set: TrainingSet) -> Self:
        """Learn the size of the catalogue."""
        self.items = training_set.items
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """k items drawn for each history."""
        check_request(histories, k, self.items)
        order = tie_break_order(self.items)

        def answer(block: Sequences) -> Recommendations:
            scores = uniform(history_keys(block, self.seed), self.items).astype(np.float32)
            if exclude_seen:
                exclude_seen_items(scores, block)
            return top_k(scores, k, order)

        return in_blocks(histories, k, 3 * self.items, answer)

    def save(self, folder: Path) -> None:
        save_state(folder, self.name, {"seed": self.seed, "items": self.items}, {})

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings, _ = load_state(folder, cls.name)
        recommender = cls(seed=settings["seed"])
        recommender.items = settings["items"]
        return recommender
