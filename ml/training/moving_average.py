"""The exponential moving average of the weights that training passes through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# early on the average follows quickly, or it would hold the initial weights for a thousand steps
_QUICK_START = 10


class WeightAverage:
    """After each step ``average = decay * average + (1 - decay) * weights``.

    Args:
        model: whose weights are averaged, as they are now.
        decay: from 0 (the weights themselves, at no cost) to below 1. Of the step numbered ``n`` from 0 it is at
            most ``(1 + n) / (10 + n)``.

    Source: Kingma and Ba, "Adam", ICLR 2015, section 7.2 (temporal averaging).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.left_out: frozenset[str] = frozenset()
        self.averages: dict[str, Tensor] = {}
        if decay:
            self.averages = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def decay_at(self, step: int) -> float:
        """Of the step numbered ``step`` from 0; 1 where nothing is averaged."""
        return min(self.decay, (1 + step) / (_QUICK_START + step)) if self.decay else 1.0

    def leave_out(self, names: Iterable[str]) -> None:
        """Keep the averages of these weights, by their names, for someone else to update."""
        self.left_out = frozenset(names)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        if not self.decay:
            return
        weights = {name: weight.detach() for name, weight in model.named_parameters() if name not in self.left_out}
        averages = [self.averages[name] for name in weights]
        torch._foreach_lerp_(averages, list(weights.values()), 1 - self.decay_at(self.steps))
        self.steps += 1

    @contextmanager
    def swapped_in(self, model: nn.Module) -> Iterator[None]:
        """The model with the averages as its weights; with its own again afterwards."""
        if not self.decay:
            yield
            return
        own = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        _copy(model, self.averages)
        try:
            yield
        finally:
            _copy(model, own)


@torch.no_grad()
def _copy(model: nn.Module, values: dict[str, Tensor]) -> None:
    for name, weight in model.named_parameters():
        weight.copy_(values[name])
