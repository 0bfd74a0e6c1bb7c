"""The exponential moving average of the weights that training passes through."""

from __future__ import annotations

from collections.abc import Iterator
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
        self.averages: dict[str, Tensor] = {}
        if decay:
            self.averages = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + self.steps) / (_QUICK_START + self.steps))
        weights = [weight.detach() for _, weight in model.named_parameters()]
        torch._foreach_lerp_(list(self.averages.values()), weights, 1 - decay)
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
