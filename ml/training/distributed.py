"""Several processes that train one model: each takes a part of every batch, and all take the same step.

Started by ``torchrun``; gloo between processors, NCCL between GPUs. The weights start equal, since they come from one
seed, and stay equal bit for bit: every process applies the same sum of gradients.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

_CONNECTION = re.compile(r"gloo/transport|connection (was )?(closed|reset|refused)|broken pipe", re.IGNORECASE)


class WorkerLostError(RuntimeError):
    """A process of a training that several share has ended before the others, or cannot be reached."""


@dataclass(frozen=True)
class World:
    """The processes that train together.

    Attributes:
        rank: this one, from 0.
        size: how many there are; 1 where a process trains alone.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> World:
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    def part_of(self, rows: np.ndarray) -> np.ndarray:
        """This process's part of some rows; of rows ordered by length each gets as many long ones."""
        return rows[self.rank :: self.size]

    def wait(self) -> None:
        """Until all have come so far."""
        if self.size > 1:
            dist.barrier()

    def sum(self, values: np.ndarray, device: torch.device) -> np.ndarray:
        """The sum over all processes of an array of each, in all of them."""
        if self.size == 1:
            return values
        total = torch.from_numpy(values).to(device)
        dist.all_reduce(total)
        return total.cpu().numpy()

    def all(self, here: bool) -> bool:
        """Whether something holds in all processes."""
        if self.size == 1:
            return here
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        return bool(self.sum_tensor(torch.tensor(float(here), device=device)) == self.size)

    def sum_tensor(self, value: Tensor) -> Tensor:
        """The sum over all processes of a tensor of each, in its place."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def average_gradients(
        self, parameters: Iterable[nn.Parameter], loss: Tensor, predictions: int
    ) -> tuple[Tensor, Tensor | int]:
        """Put the gradients of the whole batch in place of those of this process's part of it.

        A part counts by the number of its predictions, so that the mean over the batch is that of one process.
        Everything is summed in one message.

        Args:
            parameters: with the gradients of the part's mean loss; without any where the part is empty.
            loss: the part's mean loss, a scalar.
            predictions: in the part.

        Returns:
            The batch's mean loss, and its number of predictions.
        """
        if self.size == 1:
            return loss, predictions
        parameters = list(parameters)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        message = torch.cat([*(gradient.flatten() for gradient in gradients), loss.reshape(1), loss.new_ones(1)])
        message *= predictions
        dist.all_reduce(message)
        message[:-1] /= message[-1]
        parts = message[:-2].split([gradient.numel() for gradient in gradients])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        return message[-2], message[-1]


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The processes that torchrun started, joined for as long as the context lasts; alone without torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield World.current()
        return
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", device_id=device if device.type == "cuda" else None
        )
    except dist.DistError as error:
        meeting = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise WorkerLostError(
            f"the {os.environ['WORLD_SIZE']} processes of this training have not found one another at {meeting}: check "
            "that all were started, and that this address can be reached from each"
        ) from error
    try:
        yield World.current()
    except RuntimeError as error:
        if not _is_of_the_connection(error):
            raise
        said = str(error).strip().partition("\n")[0][:200]
        raise WorkerLostError(
            f"another process of this training has ended or cannot be reached ({said}), so this one has stopped too "
            "and saved no model: see what that one said, then give the same command again, which goes on from the "
            "last checkpoint"
        ) from error
    finally:
        dist.destroy_process_group()


def _is_of_the_connection(error: RuntimeError) -> bool:
    """Whether processes could not talk to one another: NCCL and the store have errors of their own, gloo has not."""
    return isinstance(error, dist.DistError) or _CONNECTION.search(str(error)) is not None
