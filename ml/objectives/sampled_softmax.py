"""Cross-entropy over the target and sampled negatives.

``loss = log(exp(s_t) + sum_n w_n exp(s_n)) - s_t`` over the sampled ``n`` other than the target ``t``: a negative that
is the target (an accidental hit) is left out. With logQ correction ``w_n`` is one over the number of times ``n`` is
expected in the sample, times how often it came up, so that the sum is an unbiased estimate of the softmax's own
(Bengio and Senecal, IEEE Transactions on Neural Networks 2008). The target itself is not corrected: it is there with
certainty. Without the correction ``w_n`` is how often ``n`` came up.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ml.models.item_embeddings import ItemEmbedding
from ml.objectives.chunked_loss import RowLosses, loss_among_shared
from ml.objectives.negatives import OwnNegatives, Popularity, SharedNegatives, draw_for_each, draw_shared
from ml.objectives.per_position_negatives import loss_among_own
from ml.objectives.settings import SampledSoftmaxSettings
from ml.objectives.targets import Targets
from ml.registry import Registered

REGISTERED = Registered(
    name="sampled_softmax",
    title="Sampled softmax",
    description="Cross-entropy over the target and sampled negatives.",
    source="Bengio and Senecal, IEEE Transactions on Neural Networks 2008; Yi et al., RecSys 2019",
    path="ml.objectives.settings:SampledSoftmaxSettings",
    rank=20,
)


class SampledSoftmax:
    """Cross-entropy over the target and sampled negatives, in the forms of the settings.

    Args:
        settings: which negatives.
        counts: training interactions of each item, int64 ``[items]``, for all but uniform negatives.
    """

    def __init__(self, settings: SampledSoftmaxSettings, counts: np.ndarray) -> None:
        self.settings = settings
        power = settings.popularity_power if settings.distribution == "popularity" else 1.0
        self.popularity = None if settings.distribution == "uniform" else Popularity(counts, power)

    def __call__(
        self, states: Tensor, targets: Targets, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        weights = targets.weights(states)
        if targets.states is not None:
            states = states.index_select(0, targets.states)
        if self.settings.negatives_drawn_for == "batch":
            shared = self.shared_negatives(generator, targets, embedding.items)
            return loss_among_shared(
                cross_entropy, states, targets.items, weights, embedding, shared.items, shared.log_weights, True
            )
        own = self.own_negatives(generator, len(targets), embedding.items, states.device)
        return loss_among_own(
            cross_entropy, states, targets.items, weights, embedding, own.items, own.log_weights, True
        )

    def shared_negatives(self, generator: np.random.Generator, targets: Targets, items: int) -> SharedNegatives:
        """Negatives of a batch with the given targets, from a catalogue of so many items."""
        settings, device = self.settings, targets.items.device
        if self.popularity is None:
            drawn = draw_shared(generator, items, settings.negatives, device)
            # an item is drawn with probability drawn / items
            return SharedNegatives(drawn, math.log(items / len(drawn)) if settings.log_q_correction else 0.0)
        if settings.distribution == "popularity":
            return self.popularity.draw_shared(generator, settings.negatives, settings.log_q_correction, device)
        distinct, times = torch.unique(targets.items, return_counts=True)
        log_weights = times.log()
        if settings.log_q_correction:
            log_weights = log_weights + self.popularity.log_weights(len(targets), device, distinct.cpu().numpy())
        return SharedNegatives(distinct, log_weights)

    def own_negatives(
        self, generator: np.random.Generator, rows: int, items: int, device: torch.device
    ) -> OwnNegatives:
        """Negatives of each of so many rows, from a catalogue of so many items."""
        negatives, corrected = self.settings.negatives, self.settings.log_q_correction
        if self.popularity is not None:
            return self.popularity.draw_for_each(generator, rows, negatives, corrected, device)
        drawn = draw_for_each(generator, items, rows, negatives, device)
        return OwnNegatives(drawn, math.log(items / negatives) if corrected else 0.0)


def cross_entropy(scores: Tensor) -> RowLosses:
    """Cross-entropy of the first column of ``[rows, columns]``."""
    best = scores.amax(dim=1)
    probability = torch.softmax(scores, dim=1)
    # the best one's probability is no smaller than 1 / columns, whose logarithm is exact enough
    losses = best - probability.amax(dim=1).log_() - scores[:, 0]
    probability[:, 0] -= 1
    return RowLosses(losses, probability)
