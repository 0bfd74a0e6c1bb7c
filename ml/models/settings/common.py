"""What the settings of several models have in common, and the checks of their values."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ml.config import nearest

# a maximum length that follows the training histories: see ml.training.derived
AUTO = "auto"
MaxLength = int | Literal["auto"]
# the text encoder whose vectors are an asset, so that they are not computed again for each model
DEFAULT_TEXT_ENCODER = "tf_idf_svd"
# kinds of item vectors that are made from the text of the items: see ml.models.text_embeddings
TEXT_EMBEDDINGS = ("text", "text_init", "text_and_id", "text_experts", "text_experts_and_id")


def check_at_least_one(settings: Any, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(settings, name)}")


def check_not_negative(settings: Any, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < 0:
            raise ValueError(f"{name} must not be negative, not {getattr(settings, name)}")


def check_heads(settings: Any) -> None:
    if settings.dimensions % settings.heads:
        raise ValueError(f"heads ({settings.heads}) must divide dimensions ({settings.dimensions})")


def decided_length(max_length: MaxLength) -> int:
    """The number that a maximum length has become.

    Raises:
        ValueError: it is still open; :mod:`ml.training.derived` decides it before a model is built.
    """
    if not isinstance(max_length, int):
        raise ValueError(f'max_length is "{max_length}", and a model is built for a number of items')
    return max_length


def check_max_length(max_length: MaxLength) -> None:
    if isinstance(max_length, int) and max_length < 1:
        raise ValueError(f'max_length must be at least 1, or "{AUTO}", not {max_length}')


def check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), not {dropout}")


def check_deviation(deviation: float) -> None:
    if deviation <= 0:
        raise ValueError(f"embedding_deviation must be above 0, not {deviation}")


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """Settings of models that read vectors of the items' text.

    Attributes:
        text_encoder: which encoder of :mod:`ml.text.registry` the vectors come from.
        whitened_text: whiten the vectors (:func:`ml.text.vectors.vectors_for_models`): all directions vary alike.
    """

    text_encoder: str = DEFAULT_TEXT_ENCODER
    whitened_text: bool = True

    # keys younger than most recipes, whose digests are to stay
    younger: ClassVar[tuple[str, ...]] = ("text_encoder", "whitened_text")

    def __post_init__(self) -> None:
        if self.text_encoder != DEFAULT_TEXT_ENCODER:
            check_text_encoder(self.text_encoder)


def check_text_encoder(name: str) -> None:
    """Check that there is such a text encoder.

    Raises:
        ValueError: there is none.
    """
    # by name, so that a model that reads no text does not depend on its code, and is not trained again where it changes
    known = importlib.import_module("ml.text.registry").ENCODERS
    if name not in known:
        raise ValueError(f"text_encoder must be one of {', '.join(known)}, not {name!r}{nearest(name, known)}")


@dataclass(frozen=True)
class ItemVectorSettings(TextSettings):
    """Settings of models that read item vectors and score with item vectors.

    Attributes:
        dimensions: width of item embeddings and states.
        dropout: share of activations dropped while training.
        max_length: longest history that is read, in items; of a longer one the most recent are read. ``auto``
            derives it from the training histories.
        item_embedding: ``dense``; ``joint_product_quantised`` (RecJPQ), which needs codes; or one that is made from
            the text of the items (:mod:`ml.models.text_embeddings`): ``text``, ``text_init``, ``text_and_id``,
            ``text_experts`` or ``text_experts_and_id``.
        separate_output_embedding: score items with embeddings of their own instead of the input embeddings.
        embedding_deviation: standard deviation of the normal distribution that embeddings start from.
    """

    dimensions: int
    dropout: float
    max_length: MaxLength
    item_embedding: Literal[
        "dense",
        "joint_product_quantised",
        "text",
        "text_init",
        "text_and_id",
        "text_experts",
        "text_experts_and_id",
    ]
    separate_output_embedding: bool
    embedding_deviation: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "dimensions")
        check_max_length(self.max_length)
        check_dropout(self.dropout)
        check_deviation(self.embedding_deviation)
        for key in TextSettings.younger:
            if not self.reads_text and getattr(self, key) != getattr(TextSettings, key):
                raise ValueError(f"{key} goes with an item_embedding that is made from text; remove it")

    @property
    def needs_codes(self) -> bool:
        """Whether the model is built on codes."""
        return self.item_embedding == "joint_product_quantised"

    @property
    def reads_text(self) -> bool:
        """Whether the model is built on vectors of the items' text."""
        return self.item_embedding in TEXT_EMBEDDINGS


@dataclass(frozen=True)
class TransformerSettings(ItemVectorSettings):
    """Settings of all transformers, in addition to :class:`ItemVectorSettings`.

    Attributes:
        blocks: number of transformer blocks.
        heads: attention heads in each block; divides ``dimensions``.
        feed_forward_dimensions: inner width of the feed-forward layers.
    """

    blocks: int
    heads: int
    feed_forward_dimensions: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "blocks", "heads", "feed_forward_dimensions")
        check_heads(self)
