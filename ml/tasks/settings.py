"""Settings of training tasks. Imports no torch, because recipes are read where nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True)
class NextItemSettings:
    """After each item, the next one; nothing to set."""

    reads_states_before_targets: ClassVar[bool] = True


@dataclass(frozen=True)
class ClozeSettings:
    """Masked items are to be filled in (Sun et al., BERT4Rec, CIKM 2019, section 3.6).

    Attributes:
        masked_share: share of a sequence's items that is masked; at least one item, never all.
        last_item_share: share of the sequences of which the last item alone is masked, as it is when the next item
            is asked for.
    """

    masked_share: float
    last_item_share: float

    uses_masks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.masked_share < 1:
            raise ValueError(f"masked_share must be above 0 and below 1, not {self.masked_share}")
        if not 0 <= self.last_item_share <= 1:
            raise ValueError(f"last_item_share must be from 0 to 1, not {self.last_item_share}")


@dataclass(frozen=True)
class RecencySamplingSettings:
    """Some items, late ones rather than early ones, are taken out and predicted from the others (Petrov and
    Macdonald, RSS, RecSys 2022, arXiv 2207.02643).

    Attributes:
        sampled_share: how many draws are made, as a share of the sequence's items, rounded down; at least one.
        recency: an item is ``recency`` times as likely to be drawn as the one after it; 1 for all alike.
    """

    sampled_share: float
    recency: float

    def __post_init__(self) -> None:
        if not 0 < self.sampled_share < 1:
            raise ValueError(f"sampled_share must be above 0 and below 1, not {self.sampled_share}")
        if not 0 < self.recency <= 1:
            raise ValueError(f"recency must be above 0 and at most 1, not {self.recency}")


@dataclass(frozen=True)
class EveryPrefixSettings:
    """Every prefix of a sequence is a sample of its own, with the item after it as the target.

    Attributes:
        prefixes: how many prefixes of a sequence are taken in an epoch, at most; of a sequence with more of them so
            many are drawn, all with the same probability, anew in each epoch. 0 takes all.

    A sequence of ``n`` items becomes up to ``n - 1`` samples: ``batch_size`` counts sequences, and ``batch_items`` the
    input items of all their samples.
    """

    prefixes: int

    def __post_init__(self) -> None:
        if self.prefixes < 0:
            raise ValueError(f"prefixes must not be negative, not {self.prefixes}; 0 takes all")

    def items_read(self, lengths: np.ndarray, max_length: int) -> np.ndarray:
        """Input items of all samples of a sequence, on average over the draws.

        Args:
            lengths: items of each sequence, at least one, int64 ``[sequences]``.
            max_length: items of a sample, at most.

        Returns:
            float64 ``[sequences]``.
        """
        samples = lengths - 1
        short = np.minimum(samples, max_length)
        items = short * (short + 1) / 2 + (samples - short) * max_length
        if not self.prefixes:
            return items
        return items * np.minimum(self.prefixes / np.maximum(samples, 1), 1)


@dataclass(frozen=True)
class MaskedThenLastSettings(EveryPrefixSettings):
    """One item of each prefix of a sequence is masked and to be filled in: at first any item, later the last one (Cao
    and Lio, GenRec, arXiv 2407.21191).

    Attributes:
        pretraining_epochs: epochs in which any item is masked; 0 for none. Training does not stop before they are over,
            and patience counts from their end.
        pretraining_steps: the same in steps, where that is longer; 0 for epochs alone. Not read where
            ``pretraining_epochs`` is 0.

    Histories to be ranked for end with a mask.
    """

    pretraining_epochs: int
    pretraining_steps: int = 0

    uses_masks: ClassVar[bool] = True
    masks_one_item: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("pretraining_epochs", "pretraining_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")

    def items_read(self, lengths: np.ndarray, max_length: int) -> np.ndarray:
        """See :class:`EveryPrefixSettings`; masks count as items."""
        samples = np.minimum(lengths - 1, self.prefixes) if self.prefixes else lengths - 1
        return super().items_read(lengths, max_length - 1) + samples


@dataclass(frozen=True)
class TeacherListsSettings:
    """The lists of a teacher are learned (:mod:`ml.tasks.teacher_lists`).

    Attributes:
        every_start: after each item of a sub-history, predict the first item of the list for the history up to there
            too, where there is such a list.
        later_items: probability that the item read in a place of the list is not the predicted one, but a random one of
            those that follow it.
        foreign_items: probability that it is an item of another list.
    """

    every_start: bool = False
    later_items: float = 0.0
    foreign_items: float = 0.0

    shows_marks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("later_items", "foreign_items"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")

    def items_read(self, lengths: np.ndarray, max_length: int) -> np.ndarray:
        """See :meth:`EveryPrefixSettings.items_read`: half a history on average, and mark and list, about ten."""
        return np.minimum((lengths + 1) / 2, max_length) + 10


TaskSettings = (
    NextItemSettings
    | ClozeSettings
    | RecencySamplingSettings
    | EveryPrefixSettings
    | MaskedThenLastSettings
    | TeacherListsSettings
)

TASK_SETTINGS: dict[str, type[TaskSettings]] = {
    "next_item": NextItemSettings,
    "cloze": ClozeSettings,
    "recency_sampling": RecencySamplingSettings,
    "every_prefix": EveryPrefixSettings,
    "masked_then_last": MaskedThenLastSettings,
    "teacher_lists": TeacherListsSettings,
}


def check_task_of_model(task: TaskSettings, model: Any) -> None:
    """Check that the model can be trained by the task.

    Masks go with models that have a vector for them (``reads_masks``), a single mask with those that fill in one item
    of a history (``reads_one_mask``). A model whose states depend on later items of the window (``reads_later_items``)
    must not be asked for an item of its own window. A model with marks between histories and lists (``reads_marks``)
    needs a task that shows it some (``shows_marks``), and such a task a model that has some.

    Raises:
        ValueError: it cannot.
    """
    if getattr(model, "reads_later_items", False) and getattr(task, "reads_states_before_targets", False):
        raise ValueError(
            "the states of this model depend on later items too, so with the task next_item they would see what they "
            "are to predict; use the task every_prefix, in which each prefix is a sample of its own"
        )
    if getattr(model, "reads_marks", False) and not getattr(task, "shows_marks", False):
        raise ValueError(
            "this model has marks between histories and lists, and the task shows it none, so they would keep their "
            "initial vectors; use a task that teaches lists, or marks = 0"
        )
    if getattr(task, "shows_marks", False) and not getattr(model, "reads_marks", False):
        raise ValueError(
            "the task teacher_lists needs a model that writes its lists behind a mark: gptrec with lists = "
            '"next_k" and marks of 1 or more'
        )
    uses_masks, reads_masks = getattr(task, "uses_masks", False), getattr(model, "reads_masks", False)
    if uses_masks and not reads_masks:
        raise ValueError(
            "the tasks cloze and masked_then_last mask items, and this model has no vector for a mask; they go with "
            "bert4rec and genrec"
        )
    reads_one = getattr(model, "reads_one_mask", False)
    if reads_masks and not uses_masks:
        raise ValueError(
            "this model reads later items too and would see what it is to predict; it needs the task "
            + ("masked_then_last" if reads_one else "cloze")
        )
    if reads_one and not getattr(task, "masks_one_item", False):
        raise ValueError(
            "this model generates the one masked item of a history, and the task masks several; it needs the task "
            "masked_then_last"
        )
