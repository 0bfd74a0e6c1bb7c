"""What the training loop asks of a model: a loss for a batch, and nothing about how items are ranked.

:class:`ScoredSequences` is the kind that ranks items by dot products, :class:`ReasonedSequences` the same with a state
for each step of reasoning, :class:`GeneratedCodes` the kind that generates the codes of the next item. A model of
another kind is trained by the same loop through a class of its own with the same few members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ml.data.sequences import Sequences
from ml.models.generating_model import GeneratingModel
from ml.models.reasoning import ReasoningSASRec
from ml.models.sequential_model import SequentialModel
from ml.objectives.build import Objective
from ml.objectives.code_cross_entropy import CodeCrossEntropy
from ml.tasks.batch import Batch
from ml.tasks.build import StagedTask, Task
from ml.training.weighting import LossWeighting


class TrainingBatch(Protocol):
    """Inputs and targets of some sequences, in whatever form the model reads them."""

    @property
    def inputs(self) -> int:
        """Number of inputs, padding not counted."""

    @property
    def places(self) -> int:
        """Number of inputs, padding counted."""

    @property
    def predictions(self) -> int:
        """Number of predictions that the loss is the mean of; batches are weighted by it."""

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""


SomeBatch = TypeVar("SomeBatch", bound=TrainingBatch)


class Trainable(Protocol[SomeBatch]):
    """A model as the training loop sees it."""

    @property
    def module(self) -> nn.Module:
        """Holds the weights: its parameters are optimised and averaged, its state dict is what checkpoints and the
        result of training consist of."""

    @property
    def least_items(self) -> int:
        """Sequences with fewer items are not trained on."""

    @property
    def max_length(self) -> int:
        """Items of a sequence that are read at most; the loop puts sequences of similar length into a batch, where
        longer ones count as this long."""

    @property
    def pretraining_epochs(self) -> int:
        """Epochs before training may stop; patience counts from their end. 0 for most models."""

    def start_epoch(self, epoch: int) -> None:
        """Called before the first batch of an epoch, from 1, and when a run is resumed within one. Batches may depend
        on the epoch, but not on earlier calls."""

    def batch(self, sequences: Sequences, rows: np.ndarray, generator: np.random.Generator) -> SomeBatch:
        """Inputs and targets of the given rows, on the CPU.

        Args:
            sequences: the training histories.
            rows: row numbers, int64, at least one.
            generator: the only source of random numbers besides torch's global generator; both are seeded for each
                step, which makes an interrupted run continue as if it had not been interrupted.
        """

    def loss(self, batch: SomeBatch, generator: np.random.Generator) -> Tensor:
        """Mean loss over the predictions of a batch, a scalar with a gradient.

        Called with the module in training mode, under autocast where the precision asks for it.

        Args:
            batch: on the device of the module.
            generator: for negatives. Under torchrun it is the same in all processes.
        """

    def compile(self) -> None:
        """Have ``torch.compile`` fuse what :meth:`loss` spends its time on; called once, before training."""


class _OfTask:
    """The members of a :class:`Trainable` that follow from a model and its task."""

    module: SequentialModel | GeneratingModel
    task: Task

    @property
    def least_items(self) -> int:
        return self.task.least_items

    @property
    def max_length(self) -> int:
        return self.module.max_length

    @property
    def pretraining_epochs(self) -> int:
        return self.task.pretraining_epochs if isinstance(self.task, StagedTask) else 0

    def start_epoch(self, epoch: int) -> None:
        if isinstance(self.task, StagedTask):
            self.task.start_epoch(epoch)

    def batch(self, sequences: Sequences, rows: np.ndarray, generator: np.random.Generator) -> Batch:
        return self.task.training_batch(sequences, rows, self.max_length, generator)


@dataclass
class ScoredSequences(_OfTask):
    """A model whose states are scored against item vectors, with its task and objective, as a :class:`Trainable`.

    Attributes:
        module: from histories to states.
        task: which items of a sequence are inputs, and which are to be predicted.
        objective: mean loss over states.
        weighting: gives targets their weights; ``None`` where all weigh the same.
    """

    module: SequentialModel
    task: Task
    objective: Objective
    weighting: LossWeighting | None = None

    def __post_init__(self) -> None:
        self._states = self.module.states

    def batch(self, sequences: Sequences, rows: np.ndarray, generator: np.random.Generator) -> Batch:
        batch = super().batch(sequences, rows, generator)
        return batch if self.weighting is None else self.weighting.weighted(batch)

    def loss(self, batch: Batch, generator: np.random.Generator) -> Tensor:
        states = self._states(batch.items, batch.lengths, batch.users, batch.positions, batch.times)
        return self.objective(states, batch.targets, self.module.output_embedding, generator)

    def compile(self) -> None:
        self._states = torch.compile(self.module.states, dynamic=True)


@dataclass
class ReasonedSequences(ScoredSequences):
    """The same for a model that reasons: the loss is the mean over its steps, each of which predicts the targets."""

    module: ReasoningSASRec

    def __post_init__(self) -> None:
        self._states_of_steps = self.module.trained_states

    def loss(self, batch: Batch, generator: np.random.Generator) -> Tensor:
        steps = self._states_of_steps(batch.items, batch.lengths, batch.users, batch.positions, batch.times)
        losses = [self.objective(states, batch.targets, self.module.output_embedding, generator) for states in steps]
        return torch.stack(losses).mean()

    def compile(self) -> None:
        self._states_of_steps = torch.compile(self.module.trained_states, dynamic=True)


@dataclass
class GeneratedCodes(_OfTask):
    """A model that generates identifiers, with its task and objective, as a :class:`Trainable`.

    Attributes:
        module: from histories to predictions of codes.
        task: which items of a sequence are inputs, and which are to be predicted: one item from each state.
        objective: mean loss over targets.
    """

    module: GeneratingModel
    task: Task
    objective: CodeCrossEntropy

    def __post_init__(self) -> None:
        self._predictions = self.module.predictions

    def loss(self, batch: Batch, generator: np.random.Generator) -> Tensor:
        """See :class:`Trainable`.

        Raises:
            ValueError: a state has several targets.
        """
        if not batch.targets.one_each:
            raise ValueError(
                "a model that generates identifiers predicts one item from each state; choose another task"
            )
        inputs = (batch.items, batch.lengths, batch.users, batch.positions)
        return self.objective(self._predictions(*inputs, batch.targets.items), len(batch.targets))

    def compile(self) -> None:
        self._predictions = torch.compile(self.module.predictions, dynamic=True)


def trainable_of(module: SequentialModel | GeneratingModel, task: Task, objective: Any) -> Trainable[Any]:
    """What the loop trains, for a model with its task and objective."""
    if isinstance(module, GeneratingModel):
        return GeneratedCodes(module, task, objective)
    if isinstance(module, ReasoningSASRec):
        return ReasonedSequences(module, task, objective)
    return ScoredSequences(module, task, objective)
