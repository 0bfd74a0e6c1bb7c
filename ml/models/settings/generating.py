"""Settings of models that generate: identifiers of items code by code, or lists item by item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ml.models.settings.common import (
    MaxLength,
    TransformerSettings,
    check_at_least_one,
    check_deviation,
    check_dropout,
    check_heads,
    check_max_length,
    check_not_negative,
)


@dataclass(frozen=True)
class ItemCodesSettings:
    """A causal transformer over items that predicts the codes of the next one (``ml.models.item_codes``).

    Attributes:
        dimensions: width of item vectors and states.
        blocks: number of transformer blocks.
        heads: attention heads in each block; divides ``dimensions``.
        feed_forward_dimensions: inner width of the feed-forward layers.
        dropout: share of activations dropped while training.
        max_length: longest history that is read, in items; of a longer one the most recent are read. ``auto``
            derives it from the training histories.
        block: as for SASRec.
        reads: vectors of the items that are read: the sum of the vectors of their ``codes``, one of their own
            (``items``), or both (``codes_and_items``).
        head: ``tree``, a vector for each node of the prefix tree and a softmax over siblings; ``prefix``, codes one
            after the other by a perceptron on state and prefix; ``parallel``, all codes at once (RPG).
        beam_width: prefixes that are kept at each level when items are generated; 0 scores the whole catalogue.
        widest_beam: where a list is not certain to be the exact one, the beam is widened up to this.
        embedding_deviation: standard deviation of the normal distribution that the vectors that are read start from.
        head_deviation: the same of the vectors of the head; the parallel head has unit normal ones.
        head_dimensions: inner width of the perceptron of the head ``prefix``.
        temperature: of the cosines of the head ``parallel``.
        dense_candidates: 0 ranks by codes alone. Above 0 the model also learns to score items by the dot product of
            state and the vector that the item is read by, and so many items that codes rank first, together with the
            items that are in no training history, are ranked by these scores (LIGER, TMLR 2025).
        dense_weight: weight of a further loss (InfoNCE): each state chooses its target among the distinct targets of a
            batch, by the cosines of the state and of the vectors that items are read by. It changes what is learned,
            not how items are ranked.
        dense_temperature: of these cosines.
        alignment_weight: for the head ``tree``, the weight of SEATER's alignment loss: each node chooses its parent
            among those of a batch (``ml.models.item_codes.tree_contrast``). .05 to .09 in the paper.
        alignment_temperature: of the cosines of that loss.
        ranking_weight: for the head ``tree``, the weight of SEATER's ranking loss: items that share more codes with
            the target get higher scores. .05 in the paper.
    """

    dimensions: int
    blocks: int
    heads: int
    feed_forward_dimensions: int
    dropout: float
    max_length: MaxLength
    block: Literal["sasrec", "pre_norm", "gpt2", "ligr"]
    reads: Literal["codes", "items", "codes_and_items"]
    head: Literal["tree", "prefix", "parallel"]
    beam_width: int
    embedding_deviation: float
    widest_beam: int = 400
    head_deviation: float = 0.05
    head_dimensions: int = 128
    temperature: float = 0.07
    dense_candidates: int = 0
    dense_weight: float = 0.0
    dense_temperature: float = 0.1
    alignment_weight: float = 0.0
    alignment_temperature: float = 0.2
    ranking_weight: float = 0.0

    model: ClassVar[str] = "ml.models.item_codes.model:ItemCodes"
    needs_codes: ClassVar[bool] = True
    generates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least_one(self, "dimensions", "blocks", "heads", "feed_forward_dimensions", "head_dimensions")
        check_max_length(self.max_length)
        check_dropout(self.dropout)
        check_deviation(self.embedding_deviation)
        for name in ("head_deviation", "temperature", "dense_temperature", "alignment_temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if (self.alignment_weight or self.ranking_weight) and self.head != "tree":
            raise ValueError("alignment_weight and ranking_weight go with the head tree, whose nodes have vectors")
        check_heads(self)
        check_not_negative(self, "beam_width", "dense_candidates", "dense_weight", "alignment_weight", "ranking_weight")
        if self.dense_candidates and self.beam_width:
            raise ValueError("beam_width must be 0 with dense_candidates: they are chosen among all items")
        if self.dense_candidates and self.head == "prefix":
            raise ValueError("dense_candidates go with the heads tree and parallel, which score all items at once")
        if self.head == "parallel" and self.beam_width:
            raise ValueError("beam_width must be 0 for the head parallel: its codes have no order to search along")


@dataclass(frozen=True)
class GPTRecSettings(TransformerSettings):
    """GPTRec with items as tokens (Petrov and Macdonald, arXiv 2306.11114 and 2403.04875): ``ml.models.gptrec``.

    Attributes:
        lists: ``top_k`` takes a list from the scores of one step; ``next_k`` writes it item by item, and each choice
            depends on the items chosen before.
        list_length: items of a list that are written; further places follow by the scores of the first step.
        marks: separators between history and list. 0 for none; 1 for a separator; more for one separator a trade-off,
            of which the one that is read says which kind of list is asked for.

    The published ``feed_forward_dimensions`` are four times ``dimensions``. ``max_length`` counts the items of a
    history alone: mark and list have positions of their own behind it.
    """

    lists: Literal["top_k", "next_k"]
    list_length: int = 10
    marks: int = 0

    model: ClassVar[str] = "ml.models.gptrec:GPTRec"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "list_length")
        check_not_negative(self, "marks")
        if self.marks and not self.writes_lists:
            raise ValueError('marks stand between a history and a written list; use lists = "next_k", or marks = 0')

    @property
    def writes_lists(self) -> bool:
        """Whether lists are written item by item."""
        return self.lists == "next_k"

    @property
    def reads_marks(self) -> bool:
        """Whether the model must be trained by a task that shows it marks."""
        return self.marks > 0


@dataclass(frozen=True)
class GPTRecCodesSettings:
    """GPTRec on codes (Petrov and Macdonald, arXiv 2306.11114): GPT-2 over the codes of a history.

    Attributes:
        dimensions: width of code vectors and states.
        blocks: number of transformer blocks.
        heads: attention heads in each block; divides ``dimensions``.
        feed_forward_dimensions: inner width of the feed-forward layers; four times ``dimensions`` in GPT-2.
        dropout: share of activations dropped while training.
        max_length: longest history that is read, in items; of a longer one the most recent are read. ``auto``
            derives it from the training histories.
        beam_width: prefixes that are kept at each level when items are generated; 0 scores the whole catalogue.
        embedding_deviation: standard deviation of the normal distribution that vectors start from.
        widest_beam: where a list is not certain to be the exact one, the beam is widened up to this.
        lists: ``top_k`` takes a list from one beam search; ``next_k`` writes it item by item, and each choice depends
            on the items chosen before.
        list_length: items of a list that are written with ``next_k``; a beam search for the next item finds the rest.
    """

    dimensions: int
    blocks: int
    heads: int
    feed_forward_dimensions: int
    dropout: float
    max_length: MaxLength
    beam_width: int
    embedding_deviation: float
    widest_beam: int = 400
    lists: Literal["top_k", "next_k"] = "top_k"
    list_length: int = 10

    model: ClassVar[str] = "ml.models.gptrec_codes:GPTRecCodes"
    needs_codes: ClassVar[bool] = True
    generates: ClassVar[bool] = True
    # keys younger than most recipes, whose digests are to stay
    younger: ClassVar[tuple[str, ...]] = ("lists", "list_length")

    def __post_init__(self) -> None:
        check_at_least_one(self, "dimensions", "blocks", "heads", "feed_forward_dimensions", "list_length")
        check_max_length(self.max_length)
        check_dropout(self.dropout)
        check_deviation(self.embedding_deviation)
        check_heads(self)
        check_not_negative(self, "beam_width")
        if self.writes_lists and not self.beam_width:
            raise ValueError(
                'beam_width must be above 0 with lists = "next_k": a beam search finds what is not written'
            )

    @property
    def writes_lists(self) -> bool:
        """Whether lists are written item by item."""
        return self.lists == "next_k"


@dataclass(frozen=True)
class TIGERSettings:
    """TIGER (Rajput et al., NeurIPS 2023, arXiv 2305.05065): ``ml.models.tiger``.

    Attributes:
        dimensions: width of tokens and states.
        heads: attention heads in each block.
        head_dimensions: width of a head; the heads together need not be as wide as the states.
        feed_forward_dimensions: inner width of the feed-forward layers.
        encoder_blocks: blocks that read the history.
        decoder_blocks: blocks that generate codes.
        feed_forward: ``relu``, or ``gated_gelu`` as in version 1.1 of T5.
        dropout: share of activations dropped while training.
        max_length: longest history that is read, in items; of a longer one the most recent are read. ``auto``
            derives it from the training histories.
        reads: ``codes``, a token for each code of an item; ``codes_and_items`` adds a vector of the item to them.
        user_tokens: tokens that users are hashed to, one of which is read before the history; 0 for none. A user who
            is not known has none.
        tied_heads: score codes with the vectors of their tokens instead of vectors of their own.
        beam_width: prefixes that are kept at each level when items are generated; 0 scores the whole catalogue.
        embedding_deviation: standard deviation of the normal distribution that tokens start from; 1 in T5.
        widest_beam: where a list is not certain to be the exact one, the beam is widened up to this; 0 for never, as
            published.
    """

    dimensions: int
    heads: int
    head_dimensions: int
    feed_forward_dimensions: int
    encoder_blocks: int
    decoder_blocks: int
    feed_forward: Literal["relu", "gated_gelu"]
    dropout: float
    max_length: MaxLength
    reads: Literal["codes", "codes_and_items"]
    user_tokens: int
    tied_heads: bool
    beam_width: int
    embedding_deviation: float
    widest_beam: int = 0

    model: ClassVar[str] = "ml.models.tiger:TIGER"
    needs_codes: ClassVar[bool] = True
    generates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least_one(
            self,
            "dimensions",
            "heads",
            "head_dimensions",
            "feed_forward_dimensions",
            "encoder_blocks",
            "decoder_blocks",
        )
        check_max_length(self.max_length)
        check_dropout(self.dropout)
        check_deviation(self.embedding_deviation)
        check_not_negative(self, "user_tokens", "beam_width", "widest_beam")

    @property
    def knows_users(self) -> bool:
        return self.user_tokens > 0


@dataclass(frozen=True)
class GenRecSettings(TIGERSettings):
    """GenRec (Cao and Lio, arXiv 2407.21191): ``ml.models.genrec``. ``max_length`` counts the mask."""

    model: ClassVar[str] = "ml.models.genrec:GenRec"
    reads_masks: ClassVar[bool] = True
    reads_one_mask: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.max_length, int) and self.max_length < 2:
            raise ValueError(f"max_length must be at least 2, an item and a mask, not {self.max_length}")
