"""What can be set about an objective. No torch here: recipes are read where nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SoftmaxSettings:
    """Cross-entropy over the whole catalogue; nothing to set."""


@dataclass(frozen=True)
class SampledSoftmaxSettings:
    """Cross-entropy over the target and sampled negatives.

    Attributes:
        negatives: how many different items are drawn, uniformly, for each batch.
        log_q_correction: add ``log(items / negatives)`` to the negatives' scores, which makes the softmax's
            denominator an unbiased estimate of the full one (Bengio and Senecal, 2008).
    """

    negatives: int
    log_q_correction: bool

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise ValueError(f"negatives must be at least 1, not {self.negatives}")


@dataclass(frozen=True)
class GeneralisedBinaryCrossEntropySettings:
    """gBCE (Petrov and Macdonald, RecSys 2023).

    Attributes:
        negatives: uniformly drawn negatives a position, ``k`` of the paper.
        calibration: ``t`` of the paper, from 0 (plain binary cross-entropy) to 1 (fully calibrated).
        negatives_drawn_for: ``position``, as published, or ``batch``: one draw shared by all positions of a
            batch. The expected gradient is the same, the draws of a batch are not independent, and a score is
            a plain matrix product, several times faster.
    """

    negatives: int
    calibration: float
    negatives_drawn_for: Literal["position", "batch"]

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise ValueError(f"negatives must be at least 1, not {self.negatives}")
        if not 0 <= self.calibration <= 1:
            raise ValueError(f"calibration must be from 0 to 1, not {self.calibration}")


ObjectiveSettings = SoftmaxSettings | SampledSoftmaxSettings | GeneralisedBinaryCrossEntropySettings

OBJECTIVE_SETTINGS: dict[str, type[ObjectiveSettings]] = {
    "softmax": SoftmaxSettings,
    "sampled_softmax": SampledSoftmaxSettings,
    "generalised_binary_cross_entropy": GeneralisedBinaryCrossEntropySettings,
}
