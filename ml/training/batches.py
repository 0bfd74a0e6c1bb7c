"""Batches of sequences of like length, cut from flat memory-mapped arrays without a loop over rows.

Most histories are short and some are long: padded to the longest, most of a batch would be padding. Sequences
are shuffled, and each run of some dozens of batches is ordered by length before it is cut, so that a batch
holds little padding and the order still differs in every epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.data.training_set import Sequences

_BATCHES_ORDERED_TOGETHER = 64


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of some sequences.

    Attributes:
        items: input items, oldest first, padded with item 0 at the end, int64 ``[batch, length]``.
        lengths: items of each row without the padding, int64 ``[batch]``.
        positions: places of the items that are not padding, in ``items`` laid flat, int64 ``[positions]``.
        targets: the item that follows each, int64 ``[positions]``; empty where there are none.
    """

    items: Tensor
    lengths: Tensor
    positions: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(*(part.to(device) for part in (self.items, self.lengths, self.positions, self.targets)))


def trainable_rows(sequences: Sequences) -> np.ndarray:
    """Rows with something to predict: those of two items or more, int64 ``[rows]``."""
    return np.flatnonzero(sequences.lengths >= 2)


def shuffled_batches(
    sequences: Sequences, rows: np.ndarray, batch_size: int, max_length: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """The rows of an epoch in batches of like length, batches in random order.

    Args:
        sequences: the training histories.
        rows: those to train on, int64 ``[rows]``.
        batch_size: rows a batch; the last one may be smaller.
        max_length: input items of a row, at most.
        generator: shuffles.

    Returns:
        int64 row numbers, one array a batch; each row in exactly one.
    """
    shuffled = generator.permutation(rows)
    lengths = np.minimum(sequences.lengths[shuffled], max_length + 1)
    run = np.arange(len(rows)) // (batch_size * _BATCHES_ORDERED_TOGETHER)
    shuffled = shuffled[np.lexsort((lengths, run))]
    batches = [shuffled[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return [batches[place] for place in generator.permutation(len(batches))]


def training_batch(sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
    """Each row's items but the last as inputs, its items but the first as targets; of a row longer than
    ``max_length + 1`` the most recent."""
    ends = sequences.offsets[rows + 1]
    lengths = np.minimum(ends - sequences.offsets[rows] - 1, max_length)
    return _batch(sequences.items, ends - 1 - lengths, lengths, with_targets=True)


def history_batch(sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
    """Whole histories as inputs, without targets; of a history longer than ``max_length`` the most recent."""
    ends = sequences.offsets[rows + 1]
    lengths = np.minimum(ends - sequences.offsets[rows], max_length)
    return _batch(sequences.items, ends - lengths, lengths, with_targets=False)


def _batch(flat: np.ndarray, starts: np.ndarray, lengths: np.ndarray, with_targets: bool) -> Batch:
    column = np.arange(lengths.max())
    real = column < lengths[:, None]
    places = np.where(real, starts[:, None] + column, 0)
    items = np.where(real, flat[places], 0).astype(np.int64)
    targets = flat[places[real] + 1].astype(np.int64) if with_targets else np.empty(0, dtype=np.int64)
    return Batch(
        items=torch.from_numpy(items),
        lengths=torch.from_numpy(lengths.astype(np.int64)),
        positions=torch.from_numpy(np.flatnonzero(real)),
        targets=torch.from_numpy(targets),
    )
