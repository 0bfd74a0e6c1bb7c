"""How the processes of one training hold its weights, and how they take a step together.

Models know nothing of it: :func:`parallelize` takes whatever the loop trains, and returns what takes its steps. Under
``none`` every process holds all weights and adds up the gradients (data parallelism). Under ``full`` each holds a part
of every tensor, with its share of the optimiser's state and of the moving average (FSDP2, ``fully_shard``); a step
gathers the weights, and scatters the gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ml.training.devices import autocast
from ml.training.distributed import World
from ml.training.runtime import FULL
from ml.training.trainable import SomeBatch, Trainable, TrainingBatch

ReadBatch = TypeVar("ReadBatch", bound=TrainingBatch, contravariant=True)


class Parallel(Protocol[ReadBatch]):
    """What takes the steps of one process."""

    @property
    def is_sharded(self) -> bool:
        """Whether this process holds a part of the weights."""

    def part_of(self, rows: np.ndarray) -> tuple[np.ndarray, bool]:
        """The rows of a batch that this process reads, perhaps none; and whether they count, or are read for the
        company of the other processes alone."""

    def backward(
        self, batch: ReadBatch | None, predictions: int, generator: np.random.Generator, precision: str
    ) -> tuple[Tensor, Tensor | int]:
        """Set the gradients of the mean loss of the whole batch.

        Args:
            batch: this process's part, on its device; ``None`` where that is empty.
            predictions: of the part that count.
            generator: of the loss.
            precision: of the products.

        Returns:
            The mean loss of the whole batch, and its number of predictions.
        """

    def gathered(self) -> Any:
        """A context in which the model has all its weights, to be asked for rankings."""

    def agreed(self, asked: bool) -> bool:
        """Whether to write a checkpoint: what the first process says, for all that have to take part."""


class Replicated(Generic[SomeBatch]):
    """All weights in every process, one or several."""

    is_sharded = False

    def __init__(self, trainable: Trainable[SomeBatch], world: World) -> None:
        self.trainable = trainable
        self.world = world
        self.device = next(trainable.module.parameters()).device
        self.parameters = [parameter for parameter in trainable.module.parameters() if parameter.requires_grad]

    def part_of(self, rows: np.ndarray) -> tuple[np.ndarray, bool]:
        return self.world.part_of(rows), True

    def backward(
        self, batch: SomeBatch | None, predictions: int, generator: np.random.Generator, precision: str
    ) -> tuple[Tensor, Tensor | int]:
        loss = torch.zeros((), device=self.device)
        if batch is not None:
            with autocast(self.device, precision):
                loss = self.trainable.loss(batch, generator)
            loss.backward()
        return self.world.average_gradients(self.parameters, loss.detach(), predictions)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        yield

    def agreed(self, asked: bool) -> bool:
        return asked


class _Step(nn.Module, Generic[SomeBatch]):
    """The loss of a batch as a module, whose weights are gathered when it is called.

    Losses read item vectors after the model has returned its states, so the unit that is sharded is not the model but
    what uses it.
    """

    def __init__(self, trainable: Trainable[SomeBatch]) -> None:
        super().__init__()
        self.model = trainable.module
        self._loss = trainable.loss

    def forward(self, batch: SomeBatch, generator: np.random.Generator) -> Tensor:
        return self._loss(batch, generator)


class Sharded(Generic[SomeBatch]):
    """A part of every weight in each of several processes."""

    is_sharded = True

    def __init__(self, trainable: Trainable[SomeBatch], world: World) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self.world = world
        self.device = next(trainable.module.parameters()).device
        self.step: Any = fully_shard(_Step(trainable), mesh=init_device_mesh(self.device.type, (world.size,)))
        # parts are weighted by their predictions, so that their gradients are added; and gloo has no mean
        self.step.set_gradient_divide_factor(1.0)
        self.step.set_force_sum_reduction_for_comms(True)

    def part_of(self, rows: np.ndarray) -> tuple[np.ndarray, bool]:
        part = self.world.part_of(rows)
        # all have to be there where weights are gathered, so one without rows reads another's, which then count nothing
        return (part, True) if len(part) else (rows[:1], False)

    def backward(
        self, batch: SomeBatch | None, predictions: int, generator: np.random.Generator, precision: str
    ) -> tuple[Tensor, Tensor | int]:
        assert batch is not None  # part_of leaves none empty
        together = self.world.sum_tensor(torch.tensor(float(predictions), device=self.device))
        with autocast(self.device, precision):
            loss = self.step(batch, generator)
        weighted = loss * (predictions / together)
        weighted.backward()
        return self.world.sum_tensor(weighted.detach()), together

    @contextmanager
    def gathered(self) -> Iterator[None]:
        self.step.unshard()
        try:
            yield
        finally:
            self.step.reshard()

    def agreed(self, asked: bool) -> bool:
        return bool(self.world.sum_tensor(torch.tensor(float(asked), device=self.device)) > 0)


def parallelize(trainable: Trainable[SomeBatch], sharding: str) -> Parallel[SomeBatch]:
    """What takes the steps of the processes that have been joined; the model's parameters are distributed tensors
    afterwards, where it is sharded.

    Args:
        trainable: its module has the weights to start from, the same in all processes.
        sharding: ``none`` or ``full``; one process alone holds everything in either case.

    Raises:
        ValueError: the weights cannot be sharded.
    """
    world = World.current()
    if sharding != FULL or world.size == 1:
        return Replicated(trainable, world)
    check_shardable(trainable.module)
    return Sharded(trainable, world)


def check_shardable(model: nn.Module) -> None:
    """Refuse what ``fully_shard`` cannot cut.

    Raises:
        ValueError: a parameter is a single number, is sparse, or does not lie in memory row by row.
    """
    kind = type(model).__name__
    for name, parameter in model.named_parameters():
        if parameter.dim() == 0:
            reason = "is a single number, which cannot be cut"
        elif parameter.is_sparse:
            reason = "is sparse"
        elif not parameter.is_contiguous():
            reason = "does not lie in memory row by row"
        else:
            continue
        raise ValueError(f"the weights of {kind} cannot be sharded, since {name} {reason}: train it with SHARDING=none")
