"""The two contrasts of UniSRec's pre-training (Hou et al., KDD 2022, "Multi-domain Sequence Representation
Pre-training"): a sequence and the item that follows it, and a sequence and the same with items dropped. All negatives
are from the same batch, which mixes the datasets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ml.contrast.histories import Histories, ViewBatch, histories_before, reach, view_batch
from ml.contrast.info_nce import info_nce
from ml.data.sequences import Sequences
from ml.models.item_embeddings import ItemEmbedding
from ml.models.sequential_model import SequentialModel
from ml.objectives.targets import Targets
from ml.tasks.batch import moved, users_of
from ml.tasks.build import Task


class InBatchItems:
    """Cross-entropy over the items that follow anywhere in the batch.

    For a state that the item ``t`` follows: ``log(exp(s_t) + sum_j exp(s_j)) - s_t`` over the items ``j`` that follow
    the other states of the batch, except those equal to ``t``. An item that follows several times is a negative as many
    times, as published.
    """

    def __call__(
        self, states: Tensor, targets: Targets, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        different, places, counts = torch.unique(targets.items, return_inverse=True, return_counts=True)
        scores = embedding.score_shared(states, different).float()
        times = counts.log().expand(len(scores), -1).scatter(1, places[:, None], 0.0)
        return F.cross_entropy(scores + times, places)


@dataclass(frozen=True)
class Views:
    """Sequences twice, and the item that follows each, int64 ``[sequences]``."""

    first: ViewBatch
    second: ViewBatch
    targets: Tensor

    def to(self, device: torch.device) -> Views:
        return Views(self.first.to(device), self.second.to(device), moved(self.targets, device))


class DroppedItems:
    """A sequence and the same without some of its items are a pair; other sequences of the batch are negatives, but for
    those that the same item follows.

    Args:
        share: of the items that are dropped. The first item of a sequence always stays.
        temperature: that cosines are divided by.
        task: shows sequences to the model.

    The loss is NT-Xent (:func:`ml.contrast.info_nce.info_nce`), in which the first views are negatives of one another
    too; the paper has the second views alone.
    """

    def __init__(self, share: float, temperature: float, task: Task) -> None:
        self.share = share
        self.temperature = temperature
        self.task = task

    def views(self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator) -> Views:
        """The items before the last one of each row, the same with items dropped, and the last one."""
        whole = histories_before(sequences, sequences.offsets[rows + 1] - 1, rows, reach(self.task, max_length))
        users = users_of(sequences, rows)
        fewer = dropped(whole, self.share, generator)
        first, second = (view_batch(self.task, v.items, v.lengths, users, max_length) for v in (whole, fewer))
        return Views(first, second, torch.from_numpy(whole.targets))

    def loss(self, model: SequentialModel, views: Views) -> Tensor:
        states = views.first.states(model), views.second.states(model)
        return info_nce(*states, self.temperature, "cosine", views.targets)


def dropped(histories: Histories, share: float, generator: np.random.Generator) -> Histories:
    """Histories without items that are drawn, each with the probability ``share``; the first of each stays."""
    items, lengths = histories.items, histories.lengths
    column = np.arange(items.shape[1])
    kept = (generator.random(items.shape) >= share) | (column == 0)
    kept &= column < lengths[:, None]
    order = np.argsort(~kept, axis=1, kind="stable")
    shorter = kept.sum(axis=1)
    moved = np.where(column < shorter[:, None], np.take_along_axis(items, order, axis=1), 0)
    return Histories(moved, shorter, histories.targets)
