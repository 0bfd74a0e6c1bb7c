"""Dropout whose random numbers cost a tenth of torch's own on a CPU.

torch draws a mask on a CPU one element after the other from a generator of doubles, which takes longer than the layers
that it is applied to. Here four elements share one draw of 64 bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STEPS = 1 << 16
_LOWEST = -(1 << 63)


class Dropout(nn.Module):
    """``torch.nn.Dropout``, with a probability on a grid of 1 / 65,536; what is kept is scaled by what it really is,
    so that the expectation is exact. On other devices than a CPU it is torch's own.

    Source: Srivastava et al., "Dropout", JMLR 15 (2014), scaled while training.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor) -> Tensor:
        """Any shape to the same."""
        return dropout(inputs, self.probability, self.training)


def dropout(inputs: Tensor, probability: float, training: bool) -> Tensor:
    """The function of :class:`Dropout`."""
    if not training or probability == 0:
        return inputs
    if inputs.device.type != "cpu":
        return F.dropout(inputs, probability)
    return _Dropout.apply(inputs, probability)


def kept(shape: torch.Size, dropped_steps: int) -> Tensor:
    """Which elements are kept, bool, each dropped with probability ``dropped_steps / 65,536``, from torch's global
    generator."""
    count = shape.numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(_LOWEST, None)
    return (words.view(torch.int16)[:count] >= dropped_steps - _STEPS // 2).view(shape)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, probability: float) -> Tensor:
        # at least one step is kept: a mask without any would have no scale
        steps = min(round(probability * _STEPS), _STEPS - 1)
        mask = kept(inputs.shape, steps)
        ctx.scale = _STEPS / (_STEPS - steps)
        ctx.save_for_backward(mask)
        return _masked(inputs, mask, ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _masked(gradient, ctx.saved_tensors[0], ctx.scale), None


def _masked(inputs: Tensor, mask: Tensor, scale: float) -> Tensor:
    return inputs * mask.to(inputs.dtype).mul_(scale)
