"""Settings of transformers that read and score item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ml.models.settings.common import (
    TransformerSettings,
)


@dataclass(frozen=True)
class SASRecSettings(TransformerSettings):
    """SASRec (Kang and McAuley, ICDM 2018) and its gSASRec and eSASRec variants.

    Attributes:
        block: ``sasrec``, the published block (keys and values from the input as it is, residuals added to the
            normalised input); ``pre_norm``, today's standard block with a ReLU; ``gpt2``, the same with GPT-2's GELU;
            or ``ligr``, pre-norm with gated residuals and SwiGLU, the block of eSASRec.

    The published ``feed_forward_dimensions`` are ``dimensions``.
    """

    block: Literal["sasrec", "pre_norm", "gpt2", "ligr"]

    model: ClassVar[str] = "ml.models.sasrec:SASRec"


@dataclass(frozen=True)
class BERT4RecSettings(TransformerSettings):
    """BERT4Rec (Sun et al., CIKM 2019).

    Attributes:
        item_biases: add a trained bias to the score of each item, as published.
        block: ``bert``, the published blocks; ``albert``, one block applied ``blocks`` times, so that all layers share
            their weights (Lan et al., ICLR 2020); or ``deberta``, attention to contents and to relative positions
            (He et al., ICLR 2021), without absolute positions.

    The published ``feed_forward_dimensions`` are four times ``dimensions``. ``max_length`` counts the mask that is
    appended to a history that is to be ranked for.
    """

    item_biases: bool
    block: Literal["bert", "albert", "deberta"] = "bert"

    model: ClassVar[str] = "ml.models.bert4rec:BERT4Rec"
    reads_masks: ClassVar[bool] = True
    # keys younger than most recipes, whose digests are to stay
    younger: ClassVar[tuple[str, ...]] = ("block",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.max_length, int) and self.max_length < 2:
            raise ValueError(f"max_length must be at least 2, an item and a mask, not {self.max_length}")


@dataclass(frozen=True)
class BSARecSettings(TransformerSettings):
    """BSARec (Shin et al., AAAI 2024).

    Attributes:
        attention_dropout: share of attention weights dropped while training; ``dropout`` is of all else.
        alpha: share of the frequency branch in each block, from 0 (a causal transformer, SASRec in post-norm form) to
            1 (no attention).
        low_pass: ``fourier``, the published filter over the whole window, with which a state depends on later items
            too: the model is then trained by the task ``every_prefix``; or ``causal_mean``, the mean of an item and
            all earlier ones in its place, with which the task ``next_item`` trains all positions at once.
        cutoff: how many of the lowest components of the Fourier transform the low-pass keeps, ``c`` of the paper; odd,
            since all but the mean come in pairs. 0, the default, with ``causal_mean``.
    """

    attention_dropout: float
    alpha: float
    low_pass: Literal["fourier", "causal_mean"]
    cutoff: int = 0

    model: ClassVar[str] = "ml.models.bsarec:BSARec"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.attention_dropout < 1:
            raise ValueError(f"attention_dropout must be in [0, 1), not {self.attention_dropout}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, not {self.alpha}")
        if self.low_pass == "causal_mean":
            if self.cutoff:
                raise ValueError('cutoff is of the Fourier transform; remove it with low_pass = "causal_mean"')
            return
        if self.cutoff < 1 or self.cutoff % 2 == 0:
            raise ValueError(f"cutoff must be an odd number above 0, not {self.cutoff}")
        if isinstance(self.max_length, int) and self.cutoff > self.max_length:
            raise ValueError(f"cutoff must be at most max_length ({self.max_length}), not {self.cutoff}")

    @property
    def reads_later_items(self) -> bool:
        """Whether states depend on later items of their window."""
        return self.low_pass == "fourier" and self.alpha > 0
