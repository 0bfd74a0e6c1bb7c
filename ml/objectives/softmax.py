"""Cross-entropy over the whole catalogue, or over the target and sampled negatives."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ml.models.item_embeddings import ItemEmbedding
from ml.objectives.negatives import draw_shared
from ml.objectives.settings import SampledSoftmaxSettings


class Softmax:
    """Cross-entropy over the whole catalogue: the reference, for catalogues that allow it."""

    def __call__(
        self, states: Tensor, targets: Tensor, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        return F.cross_entropy(embedding.score_all(states), targets)


class SampledSoftmax:
    """Cross-entropy over the target and negatives that all positions of a batch share.

    A negative that is the target of a position (an accidental hit) is left out for that position.
    """

    def __init__(self, settings: SampledSoftmaxSettings) -> None:
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
        candidates = draw_shared(generator, embedding.items, self.settings.negatives, states.device)
        scores = embedding.score_shared(states, candidates)
        if self.settings.log_q_correction and len(candidates) < embedding.items:
            # an item is drawn with probability candidates / items; a target that is drawn is left out below
            scores = scores + math.log(embedding.items / len(candidates))
        return sampled_cross_entropy(embedding.score_target(states, targets), scores, targets, candidates)


def sampled_cross_entropy(
    target_scores: Tensor, candidate_scores: Tensor, targets: Tensor, candidates: Tensor
) -> Tensor:
    """Mean cross-entropy of the target among itself and the candidates, accidental hits left out.

    Args:
        target_scores: ``[positions]``.
        candidate_scores: ``[positions, candidates]``.
        targets: int64 ``[positions]``.
        candidates: different items, int64 ``[candidates]``.
    """
    # candidates differ, so a target meets at most one of them: cheaper than comparing all pairs
    order = torch.argsort(candidates)
    place = torch.searchsorted(candidates[order], targets).clamp_(max=len(candidates) - 1)
    columns = order[place]
    rows = torch.nonzero(candidates[columns] == targets).squeeze(1)
    lowest = torch.finfo(candidate_scores.dtype).min
    masked = candidate_scores.index_put((rows, columns[rows]), candidate_scores.new_tensor(lowest))
    # -log(e^p / (e^p + sum e^n)) = softplus(logsumexp(n) - p)
    return F.softplus(torch.logsumexp(masked, dim=1) - target_scores).mean()
