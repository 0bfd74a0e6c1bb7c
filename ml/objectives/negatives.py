"""Uniform draws of negative items, from numpy's generator: the same on every device and version of torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def draw_shared(generator: np.random.Generator, items: int, negatives: int, device: torch.device) -> Tensor:
    """Different items for a whole batch, int64 ``[min(negatives, items)]``: a catalogue that is not larger
    than the draw is taken whole."""
    if negatives >= items:
        return torch.arange(items, device=device)
    drawn = generator.choice(items, negatives, replace=False, shuffle=False)
    return torch.from_numpy(drawn).to(device)


def draw_for_each(
    generator: np.random.Generator, items: int, rows: int, negatives: int, device: torch.device
) -> Tensor:
    """Items for each row, drawn with replacement, int64 ``[rows, negatives]``."""
    return torch.from_numpy(generator.integers(items, size=(rows, negatives))).to(device)
