"""Losses weighted by how even the times of a history are and how frequent a target is.

Liu, Wang and Feng, "UniRec: A Dual Enhancement of Uniformity and Frequency in Sequential Recommendations", CIKM 2024,
arXiv 2406.18470, find that histories with even gaps between their times, and items with many interactions, are
predicted better than others. Their model has branches that carry over from even histories to uneven ones and from
frequent items to rare ones. Here the two properties weight the loss of any model instead, which is not the published
method.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ml.objectives.settings import WeightingSettings
from ml.tasks.batch import Batch


class LossWeighting:
    """Gives the targets of batches their weights, with a mean of 1 in each batch.

    Args:
        settings: the two exponents.
        counts: training interactions of each item, int64 ``[items]``.
    """

    def __init__(self, settings: WeightingSettings, counts: np.ndarray) -> None:
        self.uniformity = settings.uniformity
        # a target has one interaction at least, validation items aside
        frequency = torch.from_numpy(np.maximum(counts, 1).astype(np.float32))
        self.of_items = frequency**-settings.frequency

    def weighted(self, batch: Batch) -> Batch:
        """The same batch with a weight for each target.

        Raises:
            ValueError: evenness of times is asked for, and the batch has no times.
        """
        weights = self.of_items[batch.targets.items]
        if self.uniformity:
            if batch.times is None:
                raise ValueError("the loss is weighted by the times of histories, and there are none")
            row = torch.div(batch.positions, batch.items.shape[1], rounding_mode="floor")
            of_states = evenness_weights(batch.times, batch.lengths, self.uniformity)[row]
            weights = weights * of_states[batch.targets.rows(len(batch.positions))]
        return replace(batch, targets=replace(batch.targets, importance=weights / weights.mean().clamp(min=1e-12)))


def evenness_weights(times: Tensor, lengths: Tensor, exponent: float) -> Tensor:
    """Weight of each history, ``(1 + deviation / mean) ** -exponent`` of the gaps between its items.

    Args:
        times: seconds, int64 ``[batch, length]``.
        lengths: items of each row, int64 ``[batch]``.
        exponent: above 0 for more weight on even histories, below 0 for more on uneven ones.

    Returns:
        float32 ``[batch]``. A history with fewer than two gaps, or none above 0, says nothing of its evenness: it has
        the mean weight of the others, or 1.
    """
    gaps = times.diff(dim=1).clamp_(min=0).double()
    real = torch.arange(1, times.shape[1], device=times.device) < lengths[:, None]
    count = real.sum(dim=1)
    mean = (gaps * real).sum(dim=1) / count.clamp(min=1)
    variance = ((gaps - mean[:, None]) ** 2 * real).sum(dim=1) / count.clamp(min=1)
    known = (count >= 2) & (mean > 0)
    weights = (1 + variance.sqrt() / torch.where(known, mean, 1.0)) ** -exponent
    others = weights[known].mean() if known.any() else weights.new_ones(())
    return torch.where(known, weights, others).float()
