"""Settings of models that are made for the text of the items. Any other model reads text by its ``item_embedding``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.models.settings.common import (
    MaxLength,
    TextSettings,
    check_at_least_one,
    check_deviation,
    check_dropout,
    check_heads,
    check_max_length,
)
from ml.models.settings.transformers import SASRecSettings


@dataclass(frozen=True)
class UniSRecSettings(SASRecSettings):
    """UniSRec (Hou et al., KDD 2022): ``ml.models.unisrec``.

    Attributes:
        temperature: of the cosines of states and item vectors; .07 in the paper.

    Published are ``item_embedding = "text_experts"`` (the inductive setting, text alone) and ``text_experts_and_id``
    (the transductive one).
    """

    temperature: float

    model: ClassVar[str] = "ml.models.unisrec:UniSRec"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)


@dataclass(frozen=True)
class AlphaRecSettings(TextSettings):
    """AlphaRec (Sheng et al., ICLR 2025): ``ml.models.alpharec``.

    Attributes:
        dimensions: width of item vectors and states.
        hidden_dimensions: width of the hidden layer that text passes on its way there.
        max_length: longest history that is read, in items; of a longer one the most recent are read. ``auto``
            derives it from the training histories.
        embedding_deviation: standard deviation of the weights that text is projected by, at the start.
        temperature: of the cosines of states and item vectors.
    """

    dimensions: int
    hidden_dimensions: int
    max_length: MaxLength
    embedding_deviation: float
    temperature: float

    model: ClassVar[str] = "ml.models.alpharec:AlphaRec"
    reads_text: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "dimensions", "hidden_dimensions")
        check_max_length(self.max_length)
        check_deviation(self.embedding_deviation)
        check_temperature(self.temperature)


@dataclass(frozen=True)
class RecformerSettings:
    """Words of items, read by one encoder, after Recformer (Li et al., KDD 2023): ``ml.models.recformer``.

    Attributes:
        dimensions: width of word vectors and states.
        blocks: transformer blocks of the encoder.
        heads: attention heads in each block; divides ``dimensions``.
        feed_forward_dimensions: inner width of the feed-forward layers.
        dropout: share of activations dropped while training.
        max_length: longest history that is read, in items; of a longer one the most recent are read. ``auto``
            derives it from the training histories; time and memory grow with its square.
        embedding_deviation: standard deviation of the normal distribution that vectors start from.
        temperature: of the cosines of states and item vectors; .05 in the paper.
        vocabulary: different words that are read, at most, those that most items have.
        words_of_key: words of the title, of the brand and of the category of an item that are read, at most; 32 tokens
            in the paper.
    """

    dimensions: int
    blocks: int
    heads: int
    feed_forward_dimensions: int
    dropout: float
    max_length: MaxLength
    embedding_deviation: float
    temperature: float
    vocabulary: int
    words_of_key: int

    model: ClassVar[str] = "ml.models.recformer:Recformer"
    reads_words: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least_one(
            self, "dimensions", "blocks", "heads", "feed_forward_dimensions", "vocabulary", "words_of_key"
        )
        check_heads(self)
        check_dropout(self.dropout)
        check_max_length(self.max_length)
        check_deviation(self.embedding_deviation)
        check_temperature(self.temperature)


def check_temperature(temperature: float) -> None:
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
