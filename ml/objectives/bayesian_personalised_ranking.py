"""Bayesian personalised ranking (Rendle, Freudenthaler, Gantner and Schmidt-Thieme, UAI 2009, section 4.1).

``loss = mean_n -log sigmoid(s_t - s_n)`` of a target ``t`` over its negatives ``n``. The paper draws one negative that
the user never met; here it is uniform over the catalogue, and an item drawn as its own negative gives no gradient. The
paper's penalty on the squared norm of the vectors is the optimiser's weight decay here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ml.models.item_embeddings import ItemEmbedding
from ml.objectives.chunked_loss import RowLosses
from ml.objectives.negatives import draw_for_each
from ml.objectives.per_position_negatives import loss_among_own
from ml.objectives.settings import BayesianPersonalisedRankingSettings
from ml.objectives.targets import Targets
from ml.registry import Registered

REGISTERED = Registered(
    name="bayesian_personalised_ranking",
    title="BPR",
    description="Pairs of a target and a sampled negative.",
    source="Rendle, Freudenthaler, Gantner and Schmidt-Thieme, UAI 2009, section 4.1",
    path="ml.objectives.settings:BayesianPersonalisedRankingSettings",
    rank=50,
)


def pairwise_logistic(scores: Tensor) -> RowLosses:
    """Mean over negatives of ``-log sigmoid(target - negative)``.

    Args:
        scores: ``[rows, 1 + negatives]``, the target's first; overwritten.
    """
    distances = scores[:, 1:].sub_(scores[:, :1].clone())
    losses = F.softplus(distances).mean(dim=1)
    torch.sigmoid(distances, out=distances)
    scores[:, 0] = -distances.sum(dim=1)
    return RowLosses(losses, scores, torch.full_like(losses, 1 / distances.shape[1]))


class BayesianPersonalisedRanking:
    """BPR with uniform negatives for each position."""

    def __init__(self, settings: BayesianPersonalisedRankingSettings, counts: np.ndarray) -> None:
        self.settings = settings

    def __call__(
        self, states: Tensor, targets: Targets, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        weights = targets.weights(states)
        if targets.states is not None:
            states = states.index_select(0, targets.states)
        drawn = draw_for_each(generator, embedding.items, len(targets), self.settings.negatives, states.device)
        return loss_among_own(pairwise_logistic, states, targets.items, weights, embedding, drawn)
