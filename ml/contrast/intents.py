"""Intents: histories that are followed by the same item, and clusters of histories (Qin et al., "Intent Contrastive
Learning with Cross Subsequences for Sequential Recommendation", ICSRec, WSDM 2024, arXiv 2310.14318).

The paper clusters the states of all training histories before each epoch. Here the states of a batch are clustered in
each step: prototypes are of the weights as they are, nothing has to be kept between steps, and an interrupted training
goes on bit for bit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ml.contrast.info_nce import info_nce
from ml.contrast.same_target import SameTargetViews, TwoViews
from ml.contrast.settings import IntentsSettings
from ml.data.sequences import Sequences
from ml.models.sequential_model import SequentialModel
from ml.tasks.build import Task

_ROUNDS = 10


class IntentsContrast:
    """Coarse intents: the history with the same target is the positive. Fine intents: the prototype of the history's
    cluster is the positive, and those of the other clusters are the negatives.

    Args:
        settings: number of clusters, and the weight of the second loss.
        task: shows views to the model.
    """

    def __init__(self, settings: IntentsSettings, task: Task) -> None:
        self.settings = settings
        self.task = task
        self.same_target = SameTargetViews(task)

    def views(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> TwoViews:
        return self.same_target.views(("own", "other"), sequences, rows, max_length, generator)

    def loss(self, model: SequentialModel, views: TwoViews) -> Tensor:
        settings = self.settings
        own, others = views.views.states(model).split(len(views.targets))
        coarse = info_nce(own, others, settings.temperature, settings.similarity, views.targets)
        if not settings.intent_weight:
            return coarse
        states = torch.cat([own, others])
        prototypes = clusters(states.detach().float(), settings.intents)
        fine = prototype_loss(states, prototypes, settings.temperature, settings.similarity)
        return coarse + settings.intent_weight * fine


def clusters(states: Tensor, count: int) -> Tensor:
    """Means of clusters by Lloyd's algorithm, ten rounds, ``[clusters, dimensions]``.

    Starts from states that are far from each other: the first one, and then each time the one that is farthest from
    those chosen (Gonzalez, 1985), so that nothing is drawn. A cluster that loses all its states keeps its mean.

    Args:
        states: ``[states, dimensions]``.
        count: of the clusters; fewer where there are fewer different states.
    """
    chosen = [0]
    distances = _distances(states, states[:1])[:, 0]
    while len(chosen) < min(count, len(states)) and float(distances.max()) > 0:
        chosen.append(int(distances.argmax()))
        distances = torch.minimum(distances, _distances(states, states[chosen[-1] :][:1])[:, 0])
    means = states[chosen]
    for _ in range(_ROUNDS):
        members = F.one_hot(_distances(states, means).argmin(dim=1), len(means)).to(states.dtype)
        sizes = members.sum(dim=0)[:, None]
        means = torch.where(sizes > 0, members.T @ states / sizes.clamp(min=1), means)
    return means


def prototype_loss(states: Tensor, prototypes: Tensor, temperature: float, similarity: str) -> Tensor:
    """Mean cross-entropy of finding the nearest prototype among all.

    Args:
        states: ``[states, dimensions]``.
        prototypes: ``[clusters, dimensions]``, constants.
        temperature: that similarities are divided by.
        similarity: ``cosine`` or ``dot``.
    """
    states = states.to(torch.promote_types(states.dtype, torch.float32))
    nearest = _distances(states.detach(), prototypes).argmin(dim=1)
    if similarity == "cosine":
        states, prototypes = F.normalize(states, dim=1), F.normalize(prototypes, dim=1)
    return F.cross_entropy(states @ prototypes.T / temperature, nearest)


def _distances(states: Tensor, means: Tensor) -> Tensor:
    """Squared Euclidean distances, ``[states, means]``."""
    return (states.square().sum(dim=1)[:, None] - 2 * states @ means.T + means.square().sum(dim=1)).clamp_(min=0)
