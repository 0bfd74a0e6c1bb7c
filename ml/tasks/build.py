"""From settings to a task."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from ml.data.sequences import Sequences
from ml.data.teacher_lists import ListTable
from ml.tasks.batch import Batch
from ml.tasks.cloze import Cloze
from ml.tasks.every_prefix import EveryPrefix
from ml.tasks.masked_then_last import MaskedThenLast
from ml.tasks.next_item import NextItem
from ml.tasks.recency_sampling import RecencySampling
from ml.tasks.settings import (
    ClozeSettings,
    EveryPrefixSettings,
    MaskedThenLastSettings,
    NextItemSettings,
    RecencySamplingSettings,
    TaskSettings,
    TeacherListsSettings,
)
from ml.tasks.teacher_lists import TeacherListsTask


class Task(Protocol):
    """A training task: which part of a sequence is input, and which is predicted.

    Attributes:
        least_items: shorter sequences have nothing to predict, and are not trained on.
    """

    least_items: int

    def training_batch(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> Batch:
        """Inputs and targets of the given rows; no draw from elsewhere than ``generator``."""

    def history_batch(self, sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
        """Histories to be ranked for, none of them empty: of each row one state, in the order of the rows."""


@runtime_checkable
class StagedTask(Task, Protocol):
    """A task that is another one in its first epochs.

    Attributes:
        pretraining_epochs: how many these are.
    """

    pretraining_epochs: int

    def start_epoch(self, epoch: int) -> None:
        """Make batches for this epoch from now on, from 1. What a batch holds depends on the epoch alone, not on the
        epochs before, so that an interrupted run can be resumed."""


def build_task(settings: TaskSettings, items: int, lists: ListTable | None = None) -> Task:
    """The task that the settings describe.

    Args:
        settings: which task, and its options.
        items: size of the catalogue.
        lists: what the task ``teacher_lists`` trains on; ``None`` where nothing is trained.
    """
    match settings:
        case NextItemSettings():
            return NextItem()
        case ClozeSettings():
            return Cloze(settings, items)
        case RecencySamplingSettings():
            return RecencySampling(settings)
        case MaskedThenLastSettings():
            return MaskedThenLast(settings, items)
        case EveryPrefixSettings():
            return EveryPrefix(settings)
        case TeacherListsSettings():
            return TeacherListsTask(settings, items, lists)
    raise TypeError(f"no task has the settings {settings!r}")
