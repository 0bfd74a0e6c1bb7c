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

from ml.data.sequences import Sequences
from ml.objectives.targets import Targets

_BATCHES_ORDERED_TOGETHER = 64


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of some sequences.

    Attributes:
        items: input items, oldest first, padded with item 0 at the end, int64 ``[batch, length]``.
        lengths: items of each row without the padding, int64 ``[batch]``.
        users: user index of each row, -1 where it is not known, int64 ``[batch]``.
        positions: places of the states that are read, in ``items`` laid flat, int64 ``[states]``.
        targets: items to predict from the states; none in a batch of histories.
        times: when the input items were interacted with, seconds since 1970, padded with the last one of a row, int64
            ``[batch, length]``; ``None`` where the sequences have no times. Those of targets are not among them.
    """

    items: Tensor
    lengths: Tensor
    users: Tensor
    positions: Tensor
    targets: Targets
    times: Tensor | None = None

    @property
    def inputs(self) -> int:
        """Input items, padding not counted."""
        return int(self.lengths.sum())

    @property
    def places(self) -> int:
        """Input items, padding counted."""
        return self.items.numel()

    @property
    def predictions(self) -> int:
        """States that are read, each of which predicts its targets."""
        return len(self.positions)

    def to(self, device: torch.device) -> Batch:
        """The same on a device; the copies are under way when it returns."""
        if device.type == "cpu":
            return self
        states, importance = self.targets.states, self.targets.importance
        return Batch(
            moved(self.items, device),
            moved(self.lengths, device),
            moved(self.users, device),
            moved(self.positions, device),
            Targets(
                moved(self.targets.items, device),
                None if states is None else moved(states, device),
                None if importance is None else moved(importance, device),
            ),
            None if self.times is None else moved(self.times, device),
        )


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


def next_item_batch(sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
    """Each row's items but the last as inputs, its items but the first as targets; of a row longer than
    ``max_length + 1`` the most recent."""
    ends = sequences.offsets[rows + 1]
    lengths = np.minimum(ends - sequences.offsets[rows] - 1, max_length)
    starts = ends - 1 - lengths
    items, real = padded(sequences.items, starts, lengths)
    places = starts[:, None] + np.arange(items.shape[1])
    targets = sequences.items[places[real] + 1].astype(np.int64)
    times = times_of(sequences, starts, lengths)
    return batch_of(items, lengths, users_of(sequences, rows), np.flatnonzero(real), targets, times=times)


def history_batch(sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
    """Whole histories as inputs, of each the state after its last item, no targets; of a history longer than
    ``max_length`` the most recent."""
    ends = sequences.offsets[rows + 1]
    lengths = np.minimum(ends - sequences.offsets[rows], max_length)
    items, _ = padded(sequences.items, ends - lengths, lengths)
    last = np.arange(len(rows)) * items.shape[1] + lengths - 1
    times = times_of(sequences, ends - lengths, lengths)
    return batch_of(items, lengths, users_of(sequences, rows), last, times=times)


def history_batch_with_mask(sequences: Sequences, rows: np.ndarray, max_length: int, mask: int) -> Batch:
    """Whole histories as inputs, each with the item index ``mask`` after its last item, and the state there; the mask
    counts for ``max_length``."""
    ends = sequences.offsets[rows + 1]
    shown = np.minimum(ends - sequences.offsets[rows], max_length - 1)
    items, _ = padded(sequences.items, ends - shown, shown)
    items = np.pad(items, ((0, 0), (0, 1)))
    items[np.arange(len(rows)), shown] = mask
    last = np.arange(len(rows)) * items.shape[1] + shown
    return batch_of(items, shown + 1, users_of(sequences, rows), last)


def padded(flat: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of a flat array side by side, padded with 0 at the end: int64 ``[batch, length]``, and which of them are
    no padding, bool ``[batch, length]``."""
    column = np.arange(lengths.max())
    real = column < lengths[:, None]
    places = np.where(real, starts[:, None] + column, 0)
    return np.where(real, flat[places], 0).astype(np.int64), real


def times_of(sequences: Sequences, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray | None:
    """Times of the runs of a batch, padded with the last one of each, int64 ``[batch, length]``; ``None`` where the
    sequences have no times."""
    if sequences.times is None:
        return None
    column = np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)
    return np.asarray(sequences.times[starts[:, None] + column], dtype=np.int64)


def random_places(counts: np.ndarray, lengths: np.ndarray, width: int, generator: np.random.Generator) -> np.ndarray:
    """Places of rows, all sets of them with the same probability, bool ``[batch, width]``, none of them padding.

    Args:
        counts: places of each row, at most its length, ``[batch]``.
        lengths: of each row without the padding, ``[batch]``.
        width: of the rows with it.
        generator: draws.
    """
    places = np.arange(width)
    # the places of a row with the least of independent draws are a uniform sample of different places
    draws = generator.random((len(lengths), width))
    draws[places >= lengths[:, None]] = 2.0
    order = np.argsort(draws, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, places[None], axis=1)
    return ranks < counts[:, None]


def users_of(sequences: Sequences, rows: np.ndarray) -> np.ndarray:
    """User index of the given rows, -1 where it is not known, int64 ``[rows]``."""
    if sequences.users is None:
        return np.full(len(rows), -1, dtype=np.int64)
    return np.asarray(sequences.users)[rows].astype(np.int64)


def batch_of(
    items: np.ndarray,
    lengths: np.ndarray,
    users: np.ndarray,
    positions: np.ndarray,
    targets: np.ndarray | None = None,
    states_of_targets: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> Batch:
    """Arrays as a batch; ``states_of_targets`` where a state has not just one target."""
    return Batch(
        items=torch.from_numpy(items),
        lengths=torch.from_numpy(lengths.astype(np.int64)),
        users=torch.from_numpy(users),
        positions=torch.from_numpy(positions),
        targets=Targets(
            torch.from_numpy(np.empty(0, dtype=np.int64) if targets is None else targets),
            None if states_of_targets is None else torch.from_numpy(states_of_targets),
        ),
        times=None if times is None else torch.from_numpy(times),
    )


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. To a GPU it is copied from pinned memory, while the processor goes on."""
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
