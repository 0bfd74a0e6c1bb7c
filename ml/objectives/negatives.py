"""Draws of negative items, from numpy's generator: the same on every device and version of torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class SharedNegatives:
    """Negatives of a whole batch.

    Attributes:
        items: different ones, ascending, int64 ``[negatives]``.
        log_weights: what is added to their scores, one number for all, or ``[negatives]``.
    """

    items: Tensor
    log_weights: float | Tensor = 0.0


@dataclass(frozen=True)
class OwnNegatives:
    """Negatives of each row.

    Attributes:
        items: any, with repetitions, int32 ``[rows, negatives]``: half the memory of int64, and there are many.
        log_weights: what is added to their scores, one number for all, or of each item of the catalogue, ``[items]``.
    """

    items: Tensor
    log_weights: float | Tensor = 0.0


def draw_shared(generator: np.random.Generator, items: int, negatives: int, device: torch.device) -> Tensor:
    """Different items for a whole batch, uniformly, ascending, int64 ``[min(negatives, items)]``: a catalogue that
    is not larger than the draw is taken whole."""
    if negatives >= items:
        return torch.arange(items, device=device)
    drawn = generator.choice(items, negatives, replace=False, shuffle=False)
    drawn.sort()
    return torch.from_numpy(drawn).to(device)


def draw_for_each(
    generator: np.random.Generator, items: int, rows: int, negatives: int, device: torch.device
) -> Tensor:
    """Items for each row, uniformly with replacement, int32 ``[rows, negatives]``."""
    return torch.from_numpy(generator.integers(items, size=(rows, negatives), dtype=np.int32)).to(device)


class Popularity:
    """Draws of items in proportion to how often they were interacted with, raised to a power.

    Args:
        counts: training interactions of each item, int64 ``[items]``.
        power: 1 for popularity itself, 0 for all items that occur alike. An item that never occurs is never drawn.

    Raises:
        ValueError: no item occurs.
    """

    def __init__(self, counts: np.ndarray, power: float) -> None:
        if counts.sum() == 0:
            raise ValueError("negatives cannot be drawn by popularity: no training interaction was counted")
        weights = np.where(counts > 0, np.maximum(counts, 1).astype(np.float64) ** power, 0.0)
        self.probabilities = weights / weights.sum()
        # the last is infinite, so that rounding leaves no draw without an item
        self._cumulative = np.append(np.cumsum(self.probabilities)[: np.flatnonzero(weights)[-1]], np.inf)
        self._kept: tuple[int, torch.device, Tensor] | None = None

    def draw(self, generator: np.random.Generator, shape: int | tuple[int, ...]) -> np.ndarray:
        """Items with replacement, int64 of the given shape."""
        return np.searchsorted(self._cumulative, generator.random(shape), side="right")

    def draw_shared(
        self, generator: np.random.Generator, negatives: int, corrected: bool, device: torch.device
    ) -> SharedNegatives:
        """Negatives of a whole batch, drawn with replacement; an item that came up twice weighs double.

        Args:
            generator: draws.
            negatives: how many draws.
            corrected: divide by how often each item was to be expected.
            device: where the result is wanted.
        """
        items, times = np.unique(self.draw(generator, negatives), return_counts=True)
        weights = times / (negatives * self.probabilities[items]) if corrected else times
        return SharedNegatives(
            torch.from_numpy(items).to(device), torch.from_numpy(np.log(weights).astype(np.float32)).to(device)
        )

    def draw_for_each(
        self, generator: np.random.Generator, rows: int, negatives: int, corrected: bool, device: torch.device
    ) -> OwnNegatives:
        """Negatives of each row; for the arguments see :meth:`draw_shared`."""
        items = torch.from_numpy(self.draw(generator, (rows, negatives)).astype(np.int32)).to(device)
        if not corrected:
            return OwnNegatives(items)
        # of all items, which would cost more than a step if it were computed in each
        if self._kept is None or self._kept[:2] != (negatives, device):
            self._kept = negatives, device, self.log_weights(negatives, device)
        return OwnNegatives(items, self._kept[2])

    def log_weights(self, draws: int, device: torch.device, items: np.ndarray | None = None) -> Tensor:
        """Minus the logarithm of how often items are expected in so many draws, float32 ``[items]``; 0 for items
        that are never drawn.

        Args:
            draws: how many.
            device: where the result is wanted.
            items: the items, int64; all by default.
        """
        probabilities = self.probabilities if items is None else self.probabilities[items]
        expected = np.where(probabilities > 0, draws * probabilities, 1.0)
        return torch.from_numpy(-np.log(expected).astype(np.float32)).to(device)
