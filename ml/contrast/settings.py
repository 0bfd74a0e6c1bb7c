"""Settings of contrastive objectives. Imports no torch, because recipes are read where nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

OPERATIONS = ("crop", "mask", "reorder")


@dataclass(frozen=True)
class ContrastSettings:
    """What all contrastive objectives have.

    Attributes:
        weight: of the contrastive loss, which is added to the objective.
        temperature: that similarities are divided by.
        similarity: ``cosine`` of two states, or their ``dot`` product.
    """

    weight: float
    temperature: float
    similarity: Literal["cosine", "dot"]

    contrast: ClassVar[str]
    masks_items: ClassVar[bool] = False

    @property
    def hides_items(self) -> bool:
        """Whether views have items without a vector."""
        return False

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, not {self.weight}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")


@dataclass(frozen=True)
class AugmentationsSettings(ContrastSettings):
    """Two views of a history, each made by one operation that is drawn for it (Xie et al., CL4SRec, ICDE 2022).

    Attributes:
        operations: to draw from: ``crop`` keeps a run of items, ``mask`` hides items, ``reorder`` shuffles a run.
        crop_share: share of the items that a crop keeps; at least one item.
        mask_share: share of the items that are hidden, rounded down; never all.
        reorder_share: share of the items that are shuffled, rounded down.
    """

    operations: tuple[str, ...] = OPERATIONS
    crop_share: float = 0.6
    mask_share: float = 0.3
    reorder_share: float = 0.6

    contrast: ClassVar[str] = "ml.contrast.augmentations:AugmentationsContrast"

    @property
    def hides_items(self) -> bool:
        return "mask" in self.operations

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.operations or set(self.operations) - set(OPERATIONS):
            raise ValueError(f"operations must be some of {', '.join(OPERATIONS)}, not {list(self.operations)}")
        for name in ("crop_share", "mask_share", "reorder_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be above 0 and below 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class DropoutSettings(ContrastSettings):
    """The same history twice under dropout, and another history that is followed by the same item (Qiu et al., DuoRec,
    WSDM 2022).

    Attributes:
        positives: ``dropout`` for the first, ``same_target`` for the second, ``both`` for the sum of both losses.
    """

    positives: Literal["dropout", "same_target", "both"] = "both"

    contrast: ClassVar[str] = "ml.contrast.same_target:SameTargetContrast"


@dataclass(frozen=True)
class IntentsSettings(ContrastSettings):
    """Histories that are followed by the same item share an intent, and so do histories of one cluster (Qin et al.,
    ICSRec, WSDM 2024).

    Attributes:
        intents: clusters of the states of a batch, whose means are the prototypes of intents; fewer where a batch is
            small.
        intent_weight: weight of the loss against prototypes, relative to the one among histories.
    """

    intents: int = 16
    intent_weight: float = 1.0

    contrast: ClassVar[str] = "ml.contrast.intents:IntentsContrast"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.intents < 2:
            raise ValueError(f"intents must be at least 2, not {self.intents}")
        if self.intent_weight < 0:
            raise ValueError(f"intent_weight must not be negative, not {self.intent_weight}")


@dataclass(frozen=True)
class ClozeContrastSettings(ContrastSettings):
    """Several draws of masks for one history (Du et al., CBiT, CIKM 2022).

    Attributes:
        views: draws of masks, besides the one that the objective reads; each is a positive of all others.
    """

    views: int = 2

    contrast: ClassVar[str] = "ml.contrast.cloze:ClozeContrast"
    masks_items: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.views < 2:
            raise ValueError(f"views must be at least 2, not {self.views}")


CONTRAST_SETTINGS: dict[str, type[ContrastSettings]] = {
    "augmentations": AugmentationsSettings,
    "dropout": DropoutSettings,
    "intents": IntentsSettings,
    "cloze": ClozeContrastSettings,
}


def check_contrast_of_model(contrast: ContrastSettings, task: Any, model: Any) -> None:
    """Check that a model that is trained by a task can have the contrastive objective.

    Raises:
        ValueError: it cannot.
    """
    if getattr(model, "generates", False) or getattr(model, "writes_lists", False):
        raise ValueError(
            "contrast compares the states that items are scored with, and this model generates; remove the table"
        )
    if getattr(model, "reads_times", False):
        raise ValueError("contrast shows a model changed histories, which have no times to read; remove the table")
    if getattr(task, "shows_marks", False):
        raise ValueError("contrast does not go with the task teacher_lists; remove the table")
    if contrast.masks_items and not getattr(task, "uses_masks", False):
        raise ValueError('the contrast "cloze" draws masks again, so it needs the task cloze')
