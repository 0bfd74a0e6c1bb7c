"""gBCE: binary cross-entropy that corrects the overconfidence negative sampling brings.

Petrov and Macdonald, "gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative
Sampling", RecSys 2023, equations 15 to 18. They raise the predicted probability of the positive to the power
``beta``; ``-log(sigmoid(s) ** beta)`` is ``beta * softplus(-s)``, so the loss is plain binary cross-entropy with
the positive term scaled. The published code transforms the score in float64 with clamps to the same end; this
form needs neither, and keeps the gradient where the clamps cut it (positives scored below about -23).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from ml.models.item_embeddings import ItemEmbedding
from ml.objectives.negatives import draw_for_each, draw_shared
from ml.objectives.settings import GeneralisedBinaryCrossEntropySettings


def positive_weight(items: int, negatives: int, calibration: float) -> float:
    """``beta`` of the paper: 1 for ``calibration`` 0, the sampling rate ``negatives / (items - 1)`` for 1."""
    rate = min(1.0, negatives / max(1, items - 1))
    return rate * (calibration * (1 - 1 / rate) + 1 / rate)


def generalised_binary_cross_entropy(positive: Tensor, negative: Tensor, beta: float) -> Tensor:
    """Mean over positions of the mean over a position's positive and its negatives.

    Args:
        positive: scores of the targets, ``[positions]``.
        negative: scores of the negatives, ``[positions, negatives]``.
        beta: weight of the positive term.
    """
    total = beta * F.softplus(-positive) + F.softplus(negative).sum(dim=1)
    return (total / (negative.shape[1] + 1)).mean()


class GeneralisedBinaryCrossEntropy:
    """gBCE with uniformly drawn negatives; a negative may be the target itself, as published."""

    def __init__(self, settings: GeneralisedBinaryCrossEntropySettings) -> None:
        self.settings = settings

    def __call__(
        self, states: Tensor, targets: Tensor, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        """Mean loss over positions.

        Args:
            states: hidden states, ``[positions, dimensions]``.
            targets: the item that follows each, int64 ``[positions]``.
            embedding: scores the items.
            generator: draws the negatives.
        """
        settings, items = self.settings, embedding.items
        if settings.negatives_drawn_for == "batch":
            candidates = draw_shared(generator, items, settings.negatives, states.device)
            negative = embedding.score_shared(states, candidates)
        else:
            candidates = draw_for_each(generator, items, len(states), settings.negatives, states.device)
            negative = embedding.score_each(states, candidates)
        beta = positive_weight(items, negative.shape[1], settings.calibration)
        return generalised_binary_cross_entropy(embedding.score_target(states, targets), negative, beta)
