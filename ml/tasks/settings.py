"""Settings of training tasks. Imports no torch, because recipes are read where nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class NextItemSettings:
    """After each item, the next one; nothing to set."""


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


TaskSettings = NextItemSettings | ClozeSettings | RecencySamplingSettings

TASK_SETTINGS: dict[str, type[TaskSettings]] = {
    "next_item": NextItemSettings,
    "cloze": ClozeSettings,
    "recency_sampling": RecencySamplingSettings,
}


def check_task_of_model(task: TaskSettings, model: Any) -> None:
    """That the model can be trained by the task: masks go with models that read in both directions, which would see
    the next item if they were asked for it unmasked.

    Raises:
        ValueError: it cannot.
    """
    uses_masks, reads_masks = getattr(task, "uses_masks", False), getattr(model, "reads_masks", False)
    if uses_masks and not reads_masks:
        raise ValueError("the task cloze masks items, and this model has no vector for a mask; it goes with bert4rec")
    if reads_masks and not uses_masks:
        raise ValueError(
            "this model reads later items too and would see what it is to predict; it needs the task cloze"
        )
