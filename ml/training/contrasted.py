"""What the training loop trains for a recipe: a model on its objective, and on a contrastive one where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ml.contrast.build import Contrast, build_contrast
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.models.generating_model import GeneratingModel
from ml.models.sequential_model import SequentialModel
from ml.models.settings import reads_text, reads_words
from ml.objectives.among_items import AmongItems
from ml.objectives.build import build_objective
from ml.tasks.batch import Batch
from ml.tasks.build import Task
from ml.training.recipe import Recipe
from ml.training.trainable import ScoredSequences, Trainable, trainable_of
from ml.training.weighting import LossWeighting

# the split whose targets are items of no training history, as protocols begin
_COLD_ITEMS = "cold-items"


@dataclass(frozen=True)
class ContrastedBatch:
    """The batch of the objective, and the views of the same sequences. What a batch counts is that of the objective.

    Attributes:
        batch: inputs and targets.
        views: whatever the contrastive objective reads.
    """

    batch: Batch
    views: Any

    @property
    def inputs(self) -> int:
        """See :class:`ml.training.trainable.TrainingBatch`."""
        return self.batch.inputs

    @property
    def places(self) -> int:
        """See :class:`ml.training.trainable.TrainingBatch`."""
        return self.batch.places

    @property
    def predictions(self) -> int:
        """See :class:`ml.training.trainable.TrainingBatch`."""
        return self.batch.predictions

    def to(self, device: torch.device) -> ContrastedBatch:
        """The same on a device."""
        return ContrastedBatch(self.batch.to(device), self.views.to(device))


@dataclass
class ContrastedSequences:
    """:class:`~ml.training.trainable.ScoredSequences` whose loss has a contrastive one added to it.

    Under torchrun the negatives of a view are those of its process's part of the batch.

    Attributes:
        scored: the model with its task and objective.
        contrast: compares views of the same sequences.
        weight: of its loss.
    """

    scored: ScoredSequences
    contrast: Contrast
    weight: float

    @property
    def module(self) -> torch.nn.Module:
        """See :class:`ml.training.trainable.Trainable`, as for all members."""
        return self.scored.module

    @property
    def least_items(self) -> int:
        # a history and the item that follows it
        return max(2, self.scored.least_items)

    @property
    def max_length(self) -> int:
        return self.scored.max_length

    @property
    def pretraining_epochs(self) -> int:
        return self.scored.pretraining_epochs

    def start_epoch(self, epoch: int) -> None:
        self.scored.start_epoch(epoch)

    def batch(self, sequences: Sequences, rows: np.ndarray, generator: np.random.Generator) -> ContrastedBatch:
        # the batch first, so that it is the one that would be drawn without views
        batch = self.scored.batch(sequences, rows, generator)
        return ContrastedBatch(batch, self.contrast.views(sequences, rows, self.max_length, generator))

    def loss(self, batch: ContrastedBatch, generator: np.random.Generator) -> Tensor:
        # likewise for dropout
        loss = self.scored.loss(batch.batch, generator)
        if not self.weight:
            return loss
        return loss + self.weight * self.contrast.loss(self.scored.module, batch.views)

    def compile(self) -> None:
        self.scored.compile()


def trained_as(
    recipe: Recipe,
    model: SequentialModel | GeneratingModel,
    task: Task,
    counts: np.ndarray,
    among_trained_items: bool = False,
) -> Trainable[Any]:
    """The model of a recipe, with its task and all that it is trained on.

    Args:
        recipe: objective, weighting and contrast.
        model: with fresh weights.
        task: which items of a sequence are inputs, and which are to be predicted.
        counts: training interactions of each item, int64 ``[items]``.
        among_trained_items: whether items in no training history are never negatives
            (:mod:`ml.objectives.among_items`).

    Raises:
        ValueError: items are to be hidden from a model that does not read them through an input embedding.
    """
    objective: Any
    if among_trained_items:
        trained = np.flatnonzero(counts)
        of_these: Any = build_objective(recipe.objective, counts[trained])
        objective = AmongItems(of_these, trained, len(counts))
    else:
        objective = build_objective(recipe.objective, counts)
    trainable = trainable_of(model, task, objective)
    if recipe.weighting is not None:
        assert isinstance(trainable, ScoredSequences)  # check_weighting refuses all others
        trainable.weighting = LossWeighting(recipe.weighting, counts)
    if recipe.contrast is None:
        return trainable
    assert isinstance(trainable, ScoredSequences)  # check_contrast_of_model refuses all others
    if recipe.contrast.hides_items and not hasattr(model, "input_embedding"):
        raise ValueError(
            f"recipe {recipe.name}: the operation mask of the contrast hides vectors of the items that are read, and "
            "this model has none; leave it out of operations"
        )
    return ContrastedSequences(trainable, build_contrast(recipe.contrast, task), recipe.contrast.weight)


def is_among_trained_items(recipe: Recipe, training_set: TrainingSet) -> bool:
    """Whether items in no training history are left out of the loss: of models that read text, in the split whose
    targets are such items."""
    of_cold_items = str(training_set.protocol.get("split", "")).startswith(_COLD_ITEMS)
    return of_cold_items and (reads_text(recipe.model) or reads_words(recipe.model))
