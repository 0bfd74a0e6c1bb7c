"""Two views of a history, each cropped, masked or reordered (Xie et al., "Contrastive Learning for Sequential
Recommendation", ICDE 2022, arXiv 2010.14395, section 3.2).

A masked item has a vector of zeros: the paper gives it a vector of its own, which only models that read masks have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ml.contrast.histories import Histories, ViewBatch, histories_before, reach, view_batch
from ml.contrast.info_nce import info_nce
from ml.contrast.settings import AugmentationsSettings
from ml.data.sequences import Sequences
from ml.models.sequential_model import SequentialModel
from ml.tasks.batch import random_places, users_of
from ml.tasks.build import Task


@dataclass(frozen=True)
class View:
    """Histories after an operation.

    Attributes:
        items: int64 ``[rows, length]``, padded at the end.
        lengths: int64 ``[rows]``.
        hidden: which items are masked, bool ``[rows, length]``.
    """

    items: np.ndarray
    lengths: np.ndarray
    hidden: np.ndarray


class AugmentationsContrast:
    """See the module.

    Args:
        settings: operations and their shares.
        task: shows views to the model.
    """

    def __init__(self, settings: AugmentationsSettings, task: Task) -> None:
        self.settings = settings
        self.task = task

    def views(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> ViewBatch:
        """Two views of each row, the first ones before the second ones."""
        whole = histories_before(sequences, sequences.offsets[rows + 1] - 1, rows, reach(self.task, max_length))
        made = [self._view(whole, generator) for _ in range(2)]
        items, lengths, hidden = (np.concatenate([getattr(view, name) for view in made]) for name in _PARTS)
        users = np.tile(users_of(sequences, rows), 2)
        return view_batch(self.task, items, lengths, users, max_length, hidden)

    def loss(self, model: SequentialModel, views: ViewBatch) -> Tensor:
        first, second = views.states(model).chunk(2)
        return info_nce(first, second, self.settings.temperature, self.settings.similarity)

    def _view(self, histories: Histories, generator: np.random.Generator) -> View:
        """One operation for each history, all with the same probability."""
        settings = self.settings
        shares = {"crop": settings.crop_share, "mask": settings.mask_share, "reorder": settings.reorder_share}
        views = [_OPERATIONS[name](histories, shares[name], generator) for name in settings.operations]
        chosen = generator.integers(len(views), size=len(histories.lengths))
        rows = np.arange(len(chosen))
        items, lengths, hidden = (np.stack([getattr(view, name) for view in views])[chosen, rows] for name in _PARTS)
        return View(items, lengths, hidden)


_PARTS = ("items", "lengths", "hidden")


def crop(histories: Histories, share: float, generator: np.random.Generator) -> View:
    """A run of ``share`` of the items, rounded down, at least one, at a random place."""
    kept, starts = _runs(histories.lengths, np.maximum(1, (share * histories.lengths).astype(np.int64)), generator)
    column = np.arange(histories.items.shape[1])
    places = np.minimum(starts[:, None] + column, histories.items.shape[1] - 1)
    items = np.where(column < kept[:, None], np.take_along_axis(histories.items, places, axis=1), 0)
    return View(items, kept, np.zeros(items.shape, dtype=bool))


def mask(histories: Histories, share: float, generator: np.random.Generator) -> View:
    """``share`` of the items, rounded down, are hidden; the places are drawn, all sets of them alike."""
    counts = np.minimum((share * histories.lengths).astype(np.int64), histories.lengths - 1)
    hidden = random_places(counts, histories.lengths, histories.items.shape[1], generator)
    return View(histories.items, histories.lengths, hidden)


def reorder(histories: Histories, share: float, generator: np.random.Generator) -> View:
    """A run of ``share`` of the items, rounded down, at a random place, is shuffled."""
    lengths, starts = _runs(histories.lengths, (share * histories.lengths).astype(np.int64), generator)
    column = np.arange(histories.items.shape[1])
    inside = (column >= starts[:, None]) & (column < (starts + lengths)[:, None])
    # items of the run are ordered by draws between the place before it and the place after it
    keys = np.where(inside, starts[:, None] + lengths[:, None] * generator.random(inside.shape), column)
    order = keys.argsort(axis=1, kind="stable")
    items = np.take_along_axis(histories.items, order, axis=1)
    return View(items, histories.lengths, np.zeros(items.shape, dtype=bool))


def _runs(lengths: np.ndarray, run: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of runs, and where each starts, all places with the same probability, int64 ``[rows]``."""
    return run, generator.integers(0, lengths - run + 1)


_OPERATIONS = {"crop": crop, "mask": mask, "reorder": reorder}
