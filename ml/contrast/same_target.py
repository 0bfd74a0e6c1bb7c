"""Histories that are followed by the same item (Qiu et al., "Contrastive Learning for Representation Degeneration
Problem in Sequential Recommendation", DuoRec, WSDM 2022, arXiv 2110.05730, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.contrast.histories import Histories, ViewBatch, histories_before, reach, view_batch
from ml.contrast.info_nce import info_nce
from ml.contrast.settings import DropoutSettings
from ml.data.sequences import Sequences
from ml.models.sequential_model import SequentialModel
from ml.tasks.batch import moved, users_of
from ml.tasks.build import Task


class SameTarget:
    """Where in the training histories each item follows others.

    Args:
        sequences: training histories.
    """

    def __init__(self, sequences: Sequences) -> None:
        lengths = sequences.lengths
        rows = np.repeat(np.arange(len(lengths)), lengths)
        is_first = np.zeros(len(sequences.items), dtype=bool)
        is_first[sequences.offsets[:-1][lengths > 0]] = True
        places = np.flatnonzero(~is_first)
        items = np.asarray(sequences.items)[places]
        order = np.argsort(items, kind="stable")
        self.places = places[order]
        self.rows = rows[self.places]
        counts = np.bincount(items, minlength=1)
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        # where each place stands among those of its item
        self.rank = np.full(len(sequences.items), -1)
        self.rank[self.places] = np.arange(len(self.places)) - self.starts[items[order]]

    def draw(self, ends: np.ndarray, targets: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Another place of the same item for each of the given ones, all with the same probability; the place itself
        where there is no other.

        Args:
            ends: places of the targets, none of them the first of a history, int64 ``[rows]``.
            targets: the items there, int64 ``[rows]``.
            generator: draws.

        Returns:
            Places and rows, int64 ``[rows]`` each.
        """
        counts = self.starts[targets + 1] - self.starts[targets]
        others = np.maximum(counts - 1, 1)
        # one of the others: a step of 1 to count - 1 from one's own place, around the end
        steps = 1 + generator.integers(0, others)
        chosen = self.starts[targets] + (self.rank[ends] + steps) % counts
        return self.places[chosen], self.rows[chosen]


@dataclass(frozen=True)
class TwoViews:
    """Histories, the same again or others with the same targets behind them, and the targets.

    Attributes:
        views: each history, and where both are wanted each history again, and then the others.
        targets: int64 ``[rows]``.
    """

    views: ViewBatch
    targets: Tensor

    def to(self, device: torch.device) -> TwoViews:
        return TwoViews(self.views.to(device), moved(self.targets, device))


class SameTargetViews:
    """Draws histories with the same target; the index of the training histories is made when they are first seen.

    Of a drawn history the latest items are read, as many as the longest history of the batch has: batches are of like
    length, and a long history in one of short ones would make all of it as wide as itself.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._index: SameTarget | None = None
        self._of: Sequences | None = None

    def histories(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> tuple[Histories, Histories, np.ndarray]:
        """The histories of some rows, others that are followed by the same items, and the rows of these."""
        if self._index is None or self._of is not sequences:
            self._index, self._of = SameTarget(sequences), sequences
        most = reach(self.task, max_length)
        ends = sequences.offsets[rows + 1] - 1
        own = histories_before(sequences, ends, rows, most)
        places, of_rows = self._index.draw(ends, own.targets, generator)
        return own, histories_before(sequences, places, of_rows, own.items.shape[1]), of_rows

    def views(
        self,
        parts: tuple[str, ...],
        sequences: Sequences,
        rows: np.ndarray,
        max_length: int,
        generator: np.random.Generator,
    ) -> TwoViews:
        """Each of the parts for all rows, one after the other: the ``own`` history, or the ``other`` one."""
        own, others, of_rows = self.histories(sequences, rows, max_length, generator)
        made = {"own": (own, users_of(sequences, rows)), "other": (others, users_of(sequences, of_rows))}
        width = own.items.shape[1]
        items = [np.pad(made[part][0].items, ((0, 0), (0, width - made[part][0].items.shape[1]))) for part in parts]
        lengths = np.concatenate([made[part][0].lengths for part in parts])
        users = np.concatenate([made[part][1] for part in parts])
        views = view_batch(self.task, np.concatenate(items), lengths, users, max_length)
        return TwoViews(views, torch.from_numpy(own.targets))


class SameTargetContrast:
    """DuoRec: a history under another dropout mask, and a history with the same target, are its positives.

    Histories with the same target are no negatives of each other.

    Args:
        settings: which positives.
        task: shows views to the model.
    """

    def __init__(self, settings: DropoutSettings, task: Task) -> None:
        self.settings = settings
        self.task = task
        self.same_target = SameTargetViews(task)

    def views(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> TwoViews:
        parts = {
            "dropout": ("own", "own"),
            "same_target": ("own", "other"),
            "both": ("own", "own", "other"),
        }[self.settings.positives]
        return self.same_target.views(parts, sequences, rows, max_length, generator)

    def loss(self, model: SequentialModel, views: TwoViews) -> Tensor:
        own, *positives = views.views.states(model).split(len(views.targets))
        temperature, similarity = self.settings.temperature, self.settings.similarity
        losses = [info_nce(own, each, temperature, similarity, views.targets) for each in positives]
        return torch.stack(losses).sum()
