"""From settings to an objective."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

import numpy as np
from torch import Tensor

from ml.models.item_embeddings import ItemEmbedding
from ml.objectives.settings import ObjectiveSettings
from ml.objectives.targets import Targets

if TYPE_CHECKING:
    from ml.objectives.code_cross_entropy import CodeCrossEntropy


class Objective(Protocol):
    """A loss of the states of a model that scores items, as a training step calls it."""

    def __call__(
        self, states: Tensor, targets: Targets, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        """Mean over states of the mean loss over a state's targets.

        Where each state has one target this is the mean over targets. Losses are computed in float32 (in float64
        for float64 states), whatever the type of the states; under autocast matrix products take its type.

        Args:
            states: hidden states, ``[states, dimensions]``.
            targets: what each is to predict.
            embedding: scores the items.
            generator: draws the negatives. Draws that a batch shares depend on it alone; draws for each position
                on the number of positions too.
        """


def build_objective(settings: ObjectiveSettings, counts: np.ndarray) -> Objective | CodeCrossEntropy:
    """The objective that the settings describe.

    Args:
        settings: which objective, and its options.
        counts: training interactions of each item, int64 ``[items]``, for negatives drawn by popularity.

    Raises:
        ValueError: negatives are to be drawn by popularity and nothing was counted.
    """
    module, _, name = settings.objective.partition(":")
    return getattr(importlib.import_module(module), name)(settings, counts)
