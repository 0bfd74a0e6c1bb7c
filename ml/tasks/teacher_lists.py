"""A model learns to write the lists that a teacher gives for sub-histories: the first stage of Petrov and Macdonald,
"Aligning GPTRec with Beyond-Accuracy Goals with Reinforcement Learning", arXiv 2403.04875."""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences
from ml.data.teacher_lists import ListTable
from ml.recommender import NO_ITEM
from ml.tasks.batch import Batch, batch_of, history_batch, padded, users_of
from ml.tasks.settings import TeacherListsSettings


class TeacherListsTask:
    """Each sample is a sub-history, a mark behind it and a list of the teacher. The state at the mark predicts the
    first item of the list, and the state after each listed item the next one.

    Where there are lists at several trade-offs, one is drawn anew for each sample, all with the same probability, and
    the mark says which: item index ``items`` stands for the lowest trade-off, ``items + 1`` for the next one.

    With ``every_start`` the states in front of the mark are read too. The state after an item predicts the first item
    of the list for the history up to this item, at the lowest trade-off, if the table has that list. So a sample
    teaches what to list for many histories, and not for one alone.

    A student that has chosen another item than its teacher goes on from a list that it has never read. With
    ``later_items`` and ``foreign_items`` it reads such lists in training, and predicts the first item of the teacher's
    list that is not among the items read: the idea of DAgger (Ross, Gordon and Bagnell, AISTATS 2011), without asking
    the teacher again.

    Args:
        settings: which states are read, and which lists.
        items: size of the catalogue.
        table: the lists; ``None`` where nothing is trained.
    """

    least_items = 1

    def __init__(self, settings: TeacherListsSettings, items: int, table: ListTable | None = None) -> None:
        self.settings = settings
        self.items = items
        self.table = table
        self._first_items = _first_items(table) if settings.every_start and table is not None else None

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
        history, real = padded(sequences.items, ends - shown, shown)
        read, predicted = self._read_and_predicted(lists, generator)
        behind = shown[:, None] + np.arange(lists.shape[1])
        # lists of a small catalogue end early
        is_listed = predicted != NO_ITEM
        # mark and list, less the last item, which has nothing behind it to predict
        marked = np.concatenate([self.items + levels[:, None], read[:, :-1]], axis=1)
        inputs = np.pad(history, ((0, 0), (0, lists.shape[1])))
        np.put_along_axis(inputs, behind, np.where(is_listed, marked, 0), axis=1)
        targets = np.full(inputs.shape, NO_ITEM, dtype=np.int64)
        if self._first_items is not None:
            ends_there = (self.table.ends[rows] - shown)[:, None] + np.arange(1, history.shape[1] + 1)
            targets[:, : history.shape[1]][real] = self._first_items[ends_there[real]]
        np.put_along_axis(targets, behind, predicted, axis=1)
        predicts = targets != NO_ITEM
        lengths = shown + is_listed.sum(axis=1)
        return batch_of(inputs, lengths, users_of(sequences, rows), np.flatnonzero(predicts), targets[predicts])

    def history_batch(self, sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
        """Histories alone: the model gets the mark when it writes their lists (:mod:`ml.generation.next_k`)."""
        return history_batch(sequences, rows, max_length)

    def _read_and_predicted(self, lists: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Items that are read one after the other, and those predicted in the same places, int64 ``[batch, depth]``.

        ``NO_ITEM`` where nothing is left to predict.

        Args:
            lists: of the teacher, int64 ``[batch, depth]``, ``NO_ITEM`` at the end of short ones.
            generator: draws what is read.
        """
        settings = self.settings
        if not settings.later_items and not settings.foreign_items:
            return lists, lists
        rows, depth = lists.shape
        each = np.arange(rows)
        read, predicted = np.full_like(lists, NO_ITEM), np.full_like(lists, NO_ITEM)
        left = lists != NO_ITEM
        for place in range(depth):
            is_over = ~left.any(axis=1)
            best = lists[each, left.argmax(axis=1)]
            later = lists[each, np.where(left, generator.random(left.shape), -1.0).argmax(axis=1)]
            item = np.where(generator.random(rows) < settings.later_items, later, best)
            foreign = lists[generator.integers(rows, size=rows), generator.integers(depth, size=rows)]
            # an item is never listed twice
            is_new = (foreign != NO_ITEM) & (foreign[:, None] != read[:, :place]).all(axis=1)
            item = np.where(is_new & (generator.random(rows) < settings.foreign_items), foreign, item)
            predicted[:, place] = np.where(is_over, NO_ITEM, best)
            read[:, place] = np.where(is_over, NO_ITEM, item)
            left &= lists != item[:, None]
        return read, predicted


def _first_items(table: ListTable) -> np.ndarray:
    """First item of the list, at the lowest trade-off, for the sub-history that ends at each place of the flat items of
    the training histories, ``NO_ITEM`` where no sub-history does: int32 ``[places]``."""
    first = np.full(table.ends.max(initial=0) + 1, NO_ITEM, dtype=np.int32)
    first[table.ends] = table.items[:, 0, 0]
    return first
