"""From settings to a contrastive objective."""

from __future__ import annotations

import importlib
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from ml.contrast.settings import ContrastSettings
from ml.data.sequences import Sequences
from ml.models.sequential_model import SequentialModel
from ml.tasks.build import Task


class Views(Protocol):
    """What a contrastive objective needs of a batch beside the batch itself."""

    def to(self, device: torch.device) -> Self:
        """The same on a device."""


class Contrast(Protocol):
    """A contrastive objective. All that it draws comes from the generators of the step, so that training goes on after
    an interruption as if there had been none."""

    def views(self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator) -> Any:
        """Views of the given rows of the training histories, on the CPU."""

    def loss(self, model: SequentialModel, views: Any) -> Tensor:
        """The loss before it is weighted, a scalar with a gradient."""


def build_contrast(settings: ContrastSettings, task: Task) -> Contrast:
    """The contrastive objective that the settings describe, for a model that is trained by the task."""
    module, _, name = settings.contrast.partition(":")
    return getattr(importlib.import_module(module), name)(settings, task)
