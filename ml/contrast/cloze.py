"""Several draws of masks for one history (Du et al., "Contrastive Learning with Bidirectional Transformers for
Sequential Recommendation", CBiT, CIKM 2022, arXiv 2208.03895).

The paper compares the states of all places, laid end to end. Here it is the mean of the states of a history, so that
its length does not matter. The objective reads a draw of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.contrast.info_nce import several_views
from ml.contrast.settings import ClozeContrastSettings
from ml.data.sequences import Sequences
from ml.models.sequential_model import SequentialModel
from ml.tasks.batch import Batch
from ml.tasks.build import Task


@dataclass(frozen=True)
class MaskedViews:
    """The same histories under several draws of masks."""

    batches: tuple[Batch, ...]

    def to(self, device: torch.device) -> MaskedViews:
        return MaskedViews(tuple(batch.to(device) for batch in self.batches))


class ClozeContrast:
    """Every draw of masks is a positive of every other one of the same history.

    Args:
        settings: how many.
        task: draws the masks.
    """

    def __init__(self, settings: ClozeContrastSettings, task: Task) -> None:
        self.settings = settings
        self.task = task

    def views(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> MaskedViews:
        draws = range(self.settings.views)
        return MaskedViews(tuple(self.task.training_batch(sequences, rows, max_length, generator) for _ in draws))

    def loss(self, model: SequentialModel, views: MaskedViews) -> Tensor:
        means = torch.stack([mean_states(model, each) for each in views.batches])
        return several_views(means, self.settings.temperature, self.settings.similarity)


def mean_states(model: SequentialModel, batch: Batch) -> Tensor:
    """The mean of the states of each row, padding left out, ``[batch, dimensions]``."""
    real = torch.arange(batch.items.shape[1], device=batch.items.device) < batch.lengths[:, None]
    states = model.states(batch.items, batch.lengths, batch.users, real.flatten().nonzero()[:, 0])
    rows = torch.arange(len(real), device=real.device).repeat_interleave(batch.lengths)
    summed = states.new_zeros(len(real), states.shape[1]).index_add(0, rows, states)
    return summed / batch.lengths[:, None]
