"""Settings of models for long histories: state spaces, and attention without a softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.models.settings.common import ItemVectorSettings, check_at_least_one, check_heads
from ml.models.settings.transformers import SASRecSettings


@dataclass(frozen=True)
class MambaSettings(ItemVectorSettings):
    """Mamba4Rec (Liu et al., arXiv 2403.03900) with the layer of Mamba-2 (Dao and Gu, ICML 2024).

    Attributes:
        blocks: number of blocks, each a state-space layer and feed-forward layers.
        feed_forward_dimensions: inner width of the feed-forward layers.
        expansion: width of the state-space layer, as a multiple of ``dimensions``.
        head_dimensions: width of a head of the state-space layer; divides ``expansion * dimensions``.
        state_dimensions: numbers that a head remembers for each of its dimensions.
        convolution_width: items that the convolution before the state space reads.
        chunk: items that are computed by one matrix product; decides nothing but the speed, and last bits.
    """

    blocks: int
    feed_forward_dimensions: int
    expansion: int
    head_dimensions: int
    state_dimensions: int
    convolution_width: int
    chunk: int = 32

    model: ClassVar[str] = "ml.models.mamba:Mamba"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(
            self,
            "blocks",
            "feed_forward_dimensions",
            "expansion",
            "head_dimensions",
            "state_dimensions",
            "convolution_width",
            "chunk",
        )
        if self.expansion * self.dimensions % self.head_dimensions:
            raise ValueError(
                f"head_dimensions ({self.head_dimensions}) must divide expansion * dimensions "
                f"({self.expansion * self.dimensions})"
            )


@dataclass(frozen=True)
class HSTUSettings(ItemVectorSettings):
    """HSTU (Zhai et al., ICML 2024, arXiv 2402.17152).

    Attributes:
        blocks: number of blocks.
        heads: attention heads in each block; divides ``dimensions``.
    """

    blocks: int
    heads: int

    model: ClassVar[str] = "ml.models.hstu:HSTU"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "blocks", "heads")
        check_heads(self)


@dataclass(frozen=True)
class SIGMASettings(MambaSettings):
    """SIGMA (Liu et al., AAAI 2025, arXiv 2408.11451).

    Attributes:
        unflipped: how many of the latest items keep their places when the history is reversed; the authors' code has 5
            in a window of 50.
    """

    unflipped: int = 5

    model: ClassVar[str] = "ml.models.sigma:SIGMA"
    # what is reversed depends on where the history ends
    reads_later_items: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "unflipped")


@dataclass(frozen=True)
class ReasoningSASRecSettings(SASRecSettings):
    """SASRec that reads its own state again before it chooses (ReaRec: Tang et al., arXiv 2503.22675).

    Attributes:
        reasoning_steps: positions after the last item, each of which reads the state before it.
        reasoning_temperature: how many times as high the temperature of a step is as that of the next one while
            training; the last step has temperature 1, and 1 trains all steps alike.

    ``block`` is ``pre_norm`` or ``gpt2``.
    """

    reasoning_steps: int
    reasoning_temperature: float

    model: ClassVar[str] = "ml.models.reasoning:ReasoningSASRec"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "reasoning_steps", "reasoning_temperature")
        if self.block not in ("pre_norm", "gpt2"):
            raise ValueError(f'block must be "pre_norm" or "gpt2" in a model that reasons, not "{self.block}"')
