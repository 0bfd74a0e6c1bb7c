"""A model learns to write the lists that a teacher gives for sub-histories: the first stage of Petrov and Macdonald,
"Aligning GPTRec with Beyond-Accuracy Goals with Reinforcement Learning", arXiv 2403.04875."""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences
from ml.data.teacher_lists import ListTable
from ml.recommender import NO_ITEM
from ml.tasks.batch import Batch, batch_of, history_batch, padded, users_of


class TeacherListsTask:
    """Each sample is a sub-history, a mark behind it and a list of the teacher. The state at the mark predicts the
    first item of the list, and the state after each listed item the next one.

    Where there are lists at several trade-offs, one is drawn anew for each sample, all with the same probability, and
    the mark says which: item index ``items`` stands for the lowest trade-off, ``items + 1`` for the next one.

    Args:
        items: size of the catalogue.
        table: the lists; ``None`` where nothing is trained.
    """

    least_items = 1

    def __init__(self, items: int, table: ListTable | None = None) -> None:
        self.items = items
        self.table = table

    def training_batch(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> Batch:
        """Samples of the given rows of the table, whose :meth:`~ml.data.teacher_lists.ListTable.histories` are the
        sequences. Of a sub-history the latest ``max_length`` items are shown, with mark and list behind them."""
        if self.table is None:
            raise ValueError("the task teacher_lists has no lists to train on")
        levels = generator.integers(len(self.table.tradeoffs), size=len(rows))
        lists = self.table.items[rows, levels].astype(np.int64)
        ends = sequences.offsets[rows + 1]
        shown = np.minimum(ends - sequences.offsets[rows], max_length)
        items, _ = padded(sequences.items, ends - shown, shown)
        # mark and list, less the last item, which has nothing behind it to predict
        inputs = np.concatenate([self.items + levels[:, None], lists[:, :-1]], axis=1)
        # lists of a small catalogue end early
        predicts = lists != NO_ITEM
        items = np.pad(items, ((0, 0), (0, inputs.shape[1])))
        places = shown[:, None] + np.arange(inputs.shape[1])
        np.put_along_axis(items, places, np.where(predicts, inputs, 0), axis=1)
        positions = places + np.arange(len(rows))[:, None] * items.shape[1]
        lengths = shown + predicts.sum(axis=1)
        return batch_of(items, lengths, users_of(sequences, rows), positions[predicts], lists[predicts])

    def history_batch(self, sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
        """Histories alone: the model gets the mark when it writes their lists (:mod:`ml.generation.next_k`)."""
        return history_batch(sequences, rows, max_length)
