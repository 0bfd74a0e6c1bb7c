"""Binary cross-entropy with sampled negatives, and gBCE.

``loss = (beta * softplus(-s_t) + sum_n softplus(s_n)) / (k + 1)`` of a target ``t`` and ``k`` negatives ``n``.

With ``beta = 1`` this is plain binary cross-entropy, with ``k = 1`` the objective of SASRec (Kang and McAuley, ICDM
2018, section 3.5), there without the division. The paper draws negatives that the user never met; here, as in gBCE and
most of today's code, they are uniform over the catalogue, and may be items of the history or the target itself.

With ``beta`` below 1 it is gBCE, which corrects the overconfidence that negative sampling brings (Petrov and
Macdonald, "gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative Sampling", RecSys 2023,
equations 15 to 18). They raise the predicted probability of the positive to the power ``beta``;
``-log(sigmoid(s) ** beta)`` is ``beta * softplus(-s)``. The published code transforms the score in float64 with clamps
to the same end; this form needs neither, and keeps the gradient where the clamps cut it (positives scored below about
-23).

Scores start near 0, where each of the many negatives counts as a coin toss. Training first pushes all scores down,
states and items along one common direction, and ranks by popularity meanwhile, for some hundreds of steps. With a
*prior offset* the loss reads ``s + log(beta / k)`` in place of ``s``: the log-odds at which scores without information
have the least loss. It is the same for all items, so rankings by ``s`` stay as they are, and there is nothing to push
down. The idea is the prior of the classifier's bias in Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
section 4.1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ml.models.item_embeddings import ItemEmbedding
from ml.objectives.chunked_loss import RowLosses, loss_among_shared
from ml.objectives.negatives import draw_for_each, draw_shared
from ml.objectives.per_position_negatives import loss_among_own
from ml.objectives.settings import (
    BinaryCrossEntropySettings,
    GeneralisedBinaryCrossEntropySettings,
    ObjectiveSettings,
)
from ml.objectives.targets import Targets
from ml.registry import Registered

REGISTERED = (
    Registered(
        name="binary_cross_entropy",
        title="Binary cross-entropy",
        description="Binary cross-entropy with sampled negatives.",
        source="Kang and McAuley, ICDM 2018, section 3.5",
        path="ml.objectives.settings:BinaryCrossEntropySettings",
        rank=30,
    ),
    Registered(
        name="generalised_binary_cross_entropy",
        title="gBCE",
        description="Binary cross-entropy that corrects the overconfidence of negative sampling.",
        source="Petrov and Macdonald, gSASRec, RecSys 2023",
        path="ml.objectives.settings:GeneralisedBinaryCrossEntropySettings",
        rank=40,
    ),
)


def positive_weight(items: int, negatives: int, calibration: float) -> float:
    """``beta`` of the paper: 1 for ``calibration`` 0, the sampling rate ``negatives / (items - 1)`` for 1."""
    rate = min(1.0, negatives / max(1, items - 1))
    return rate * (calibration * (1 - 1 / rate) + 1 / rate)


def prior_log_odds(beta: float, negatives: int) -> float:
    """The score at which a target and its negatives, scored alike, have the least loss."""
    return math.log(beta / negatives)


def binary_cross_entropy(scores: Tensor, beta: float, offset: float = 0.0) -> RowLosses:
    """Mean over a target and its negatives.

    Args:
        scores: ``[rows, 1 + negatives]``, the target's first; overwritten.
        beta: weight of the target's term.
        offset: added to all scores.
    """
    if offset:
        scores += offset
    scores[:, 0].neg_()
    terms = F.softplus(scores)
    columns = scores.shape[1]
    losses = (terms.sum(dim=1) + (beta - 1) * terms[:, 0]) / columns
    gradient = torch.sigmoid(scores, out=terms)
    gradient[:, 0] *= -beta
    return RowLosses(losses, gradient, torch.full_like(losses, 1 / columns))


def score_offset(settings: ObjectiveSettings, items: int) -> float:
    """What is to be added to a model's scores before their sigmoid is a probability; 0 for most objectives.

    Args:
        settings: that the model was trained with.
        items: size of the catalogue.
    """
    if not isinstance(settings, GeneralisedBinaryCrossEntropySettings) or not settings.prior_offset:
        return 0.0
    shared = settings.negatives_drawn_for == "batch"
    drawn = min(settings.negatives, items) if shared else settings.negatives
    return prior_log_odds(positive_weight(items, drawn, settings.calibration), drawn)


class BinaryCrossEntropy:
    """Binary cross-entropy with uniform negatives; a negative may be the target itself, as in gSASRec.

    Args:
        settings: how many negatives, for what they are drawn, and what gBCE changes.
        counts: not read.
    """

    def __init__(
        self, settings: BinaryCrossEntropySettings | GeneralisedBinaryCrossEntropySettings, counts: np.ndarray
    ) -> None:
        self.settings = settings

    def __call__(
        self, states: Tensor, targets: Targets, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        weights = targets.weights(states)
        if targets.states is not None:
            states = states.index_select(0, targets.states)
        negatives = self.settings.negatives
        if self.settings.negatives_drawn_for == "batch":
            drawn = draw_shared(generator, embedding.items, negatives, states.device)
            loss_among = loss_among_shared
        else:
            drawn = draw_for_each(generator, embedding.items, len(targets), negatives, states.device)
            loss_among = loss_among_own
        beta = positive_weight(embedding.items, drawn.shape[-1], self.settings.calibration)
        offset = prior_log_odds(beta, drawn.shape[-1]) if self.settings.prior_offset else 0.0
        return loss_among(
            lambda scores: binary_cross_entropy(scores, beta, offset), states, targets.items, weights, embedding, drawn
        )
