"""What can be set about a model. No torch here: recipes are read where no model is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SASRecSettings:
    """SASRec (Kang and McAuley, ICDM 2018) and its gSASRec variant (Petrov and Macdonald, RecSys 2023).

    Attributes:
        dimensions: width of item embeddings and hidden states.
        blocks: number of transformer blocks.
        heads: attention heads in each block; divides ``dimensions``.
        feed_forward_dimensions: inner width of the feed-forward layers; the published value is ``dimensions``.
        dropout: share of activations dropped, on embeddings, attention weights and feed-forward layers.
        max_length: longest history that is read, in items; of a longer one the most recent are read.
        block: ``sasrec``, the published block (keys and values from the input as it is, residuals added to
            the normalised input), or ``pre_norm``, today's standard block.
        item_embedding: ``dense``, or ``joint_product_quantised`` (RecJPQ), which needs codes.
        separate_output_embedding: score items with embeddings of their own instead of the input embeddings.
        embedding_deviation: standard deviation of the normal distribution that item and position embeddings
            start from.
    """

    dimensions: int
    blocks: int
    heads: int
    feed_forward_dimensions: int
    dropout: float
    max_length: int
    block: Literal["sasrec", "pre_norm"]
    item_embedding: Literal["dense", "joint_product_quantised"]
    separate_output_embedding: bool
    embedding_deviation: float

    def __post_init__(self) -> None:
        for name in ("dimensions", "blocks", "heads", "feed_forward_dimensions", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.dimensions % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide dimensions ({self.dimensions})")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")
        if self.embedding_deviation <= 0:
            raise ValueError(f"embedding_deviation must be above 0, not {self.embedding_deviation}")


ModelSettings = SASRecSettings

MODEL_SETTINGS: dict[str, type[ModelSettings]] = {"sasrec": SASRecSettings}
