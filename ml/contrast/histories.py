"""The histories of a batch as arrays, and arrays as histories: what views are made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ml.data.sequences import Sequences
from ml.models.sequential_model import SequentialModel
from ml.tasks.batch import Batch, moved, padded
from ml.tasks.build import Task


@dataclass(frozen=True)
class Histories:
    """Items before the last one of some training sequences, and the last one.

    Attributes:
        items: padded with 0 at the end, int64 ``[rows, length]``.
        lengths: items of each row, int64 ``[rows]``, at least 1.
        targets: the item that follows each row, int64 ``[rows]``.
    """

    items: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray


def reach(task: Task, max_length: int) -> int:
    """Items of a history that the task shows at most, less the place of a mask behind them where it puts one there."""
    return max_length - 1 if hasattr(task, "mask") else max_length


def histories_before(sequences: Sequences, ends: np.ndarray, rows: np.ndarray, max_length: int) -> Histories:
    """The items before the given places of the flat items, of each row the latest.

    Args:
        sequences: training histories.
        ends: places of the targets in ``sequences.items``, int64 ``[rows]``; none is the first of its row.
        rows: the row of each, int64 ``[rows]``.
        max_length: items that are read at most.
    """
    lengths = np.minimum(ends - sequences.offsets[rows], max_length)
    items, _ = padded(sequences.items, ends - lengths, lengths)
    return Histories(items, lengths, np.asarray(sequences.items[ends], dtype=np.int64))


@dataclass(frozen=True)
class ViewBatch:
    """Views as a model reads them, one state each.

    Attributes:
        batch: histories, in the order of the views.
        hidden: which places of ``batch.items`` have no item vector, bool ``[views, length]``; ``None`` for none.
    """

    batch: Batch
    hidden: Tensor | None = None

    def to(self, device: torch.device) -> ViewBatch:
        return ViewBatch(self.batch.to(device), None if self.hidden is None else moved(self.hidden, device))

    def states(self, model: SequentialModel) -> Tensor:
        """A state of each view, ``[views, dimensions]``."""
        batch = self.batch
        with _hiding(model, self.hidden):
            return model.states(batch.items, batch.lengths, batch.users, batch.positions)


def view_batch(
    task: Task,
    items: np.ndarray,
    lengths: np.ndarray,
    users: np.ndarray,
    max_length: int,
    hidden: np.ndarray | None = None,
) -> ViewBatch:
    """Histories as the task shows them to the model to be ranked for: with a mask behind them where it has one.

    Args:
        task: of the model.
        items: int64 ``[views, length]``, padded at the end.
        lengths: int64 ``[views]``, from 1 to :func:`reach`.
        users: user index of each, -1 where it is not known, int64 ``[views]``.
        max_length: items that the model reads at most.
        hidden: which of them are to be hidden, bool ``[views, length]``.
    """
    real = np.arange(items.shape[1]) < lengths[:, None]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    views = Sequences(items[real].astype(np.int32), offsets, users.astype(np.int32))
    batch = task.history_batch(views, np.arange(len(views)), max_length)
    if hidden is None:
        return ViewBatch(batch)
    # as wide as what the task shows, which may have a mask behind the items
    wide = np.zeros(tuple(batch.items.shape), dtype=bool)
    width = min(wide.shape[1], hidden.shape[1])
    wide[:, :width] = (hidden & real)[:, :width]
    return ViewBatch(batch, torch.from_numpy(wide))


@contextmanager
def _hiding(model: SequentialModel, hidden: Tensor | None) -> Iterator[None]:
    """Give hidden places a vector of zeros, whatever the model does with it afterwards: to a causal model there is no
    item that stands for a mask."""
    if hidden is None:
        yield
        return
    embedding = model.get_submodule("input_embedding")

    def hide(module: nn.Module, inputs: tuple[Tensor, ...], vectors: Tensor) -> Tensor:
        return vectors.masked_fill(hidden[..., None], 0.0)

    handle = embedding.register_forward_hook(hide)
    try:
        yield
    finally:
        handle.remove()
