"""Items drawn in proportion to their popularity."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from ml.baselines.hash_random import history_keys, uniform
from ml.baselines.popularity import item_counts
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.histories import check_request, in_blocks
from ml.recommender import Recommendations
from ml.registry import Registered
from ml.retrieval.top_k import exclude_seen as exclude_seen_items
from ml.retrieval.top_k import tie_break_order, top_k

REGISTERED = Registered(
    name="popularity_sampling",
    title="Popularity-weighted sampling",
    description=(
        "Items drawn without replacement, each draw in proportion to the training interactions of the items left; "
        "items without any come last."
    ),
    source='Acharya, "A primer on generative recommendation, part 1" (2025), table of training-free baselines',
    path="ml.baselines.popularity_sampling:PopularitySampling",
    needs=("seed",),
    rank=20,
)

# More than any waiting time: 32 random bits give at most 33 * ln 2 < 23.
_AFTER_ALL = 32.0


class PopularitySampling:
    """Draws items without replacement, each draw in proportion to the training counts of the items left.

    Each item waits for an exponential time whose rate is its count; the score is ``-time``. Sorting these
    times is drawing one by one (the Gumbel top-k trick in another scale: Efraimidis and Spirakis, "Weighted
    random sampling with a reservoir", 2006; Kool, van Hoof and Welling, "Stochastic beams and where to find
    them", ICML 2019). Items without a training interaction come after all others, in random order. The draw
    is a function of the seed and the history, so users with equal histories have equal lists.
    """

    name = "popularity_sampling"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.counts = np.empty(0, dtype=np.int64)

    def fit(self, training_set: TrainingSet) -> Self:
        """Count the training interactions of each item."""
        self.counts = item_counts(training_set)
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """k items drawn for each history."""
        items = len(self.counts)
        check_request(histories, k, items)
        order = tie_break_order(items)
        rate = np.maximum(self.counts, 1).astype(np.float64)
        handicap = np.where(self.counts == 0, _AFTER_ALL, 0.0)

        def answer(block: Sequences) -> Recommendations:
            # -log(1 - u) is exponential, and exact to the last bit near 0, where the winners are
            times = uniform(history_keys(block, self.seed), items)
            np.subtract(1.0, times, out=times)
            np.log(times, out=times)
            times /= rate
            times -= handicap
            scores = times.astype(np.float32)
            if exclude_seen:
                exclude_seen_items(scores, block)
            return top_k(scores, k, order)

        return in_blocks(histories, k, 3 * items, answer)

    def save(self, folder: Path) -> None:
        save_state(folder, self.name, {"seed": self.seed}, {"counts": self.counts})

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings, arrays = load_state(folder, cls.name)
        recommender = cls(seed=settings["seed"])
        recommender.counts = arrays["counts"]
        return recommender
