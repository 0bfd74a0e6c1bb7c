"""From settings to an objective."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor

from ml.models.item_embeddings import ItemEmbedding
from ml.objectives.generalised_binary_cross_entropy import GeneralisedBinaryCrossEntropy
from ml.objectives.settings import (
    GeneralisedBinaryCrossEntropySettings,
    ObjectiveSettings,
    SampledSoftmaxSettings,
    SoftmaxSettings,
)
from ml.objectives.softmax import SampledSoftmax, Softmax


class Objective(Protocol):
    def __call__(
        self, states: Tensor, targets: Tensor, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        """Mean loss over positions: states ``[positions, dimensions]``, targets int64 ``[positions]``."""


def build_objective(settings: ObjectiveSettings) -> Objective:
    """The objective that the settings describe."""
    match settings:
        case SoftmaxSettings():
            return Softmax()
        case SampledSoftmaxSettings():
            return SampledSoftmax(settings)
        case GeneralisedBinaryCrossEntropySettings():
            return GeneralisedBinaryCrossEntropy(settings)
    raise TypeError(f"no objective has the settings {settings!r}")
