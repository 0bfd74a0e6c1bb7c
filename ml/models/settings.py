"""Settings of models. Imports no torch, because recipes are read where no model is built.

The settings of the models that ship stand here, and name the class that is built from them. A model of one's own
needs no line here: see :data:`MODEL_SETTINGS`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, ClassVar, Literal

_PACKAGE = __name__.rpartition(".")[0]
# a maximum length that follows the training histories: see ml.training.derived
AUTO = "auto"
MaxLength = int | Literal["auto"]


def _check_at_least_one(settings: Any, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(settings, name)}")


def _check_not_negative(settings: Any, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < 0:
            raise ValueError(f"{name} must not be negative, not {getattr(settings, name)}")


def _check_heads(settings: Any) -> None:
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


def _check_max_length(max_length: MaxLength) -> None:
    if isinstance(max_length, int) and max_length < 1:
        raise ValueError(f'max_length must be at least 1, or "{AUTO}", not {max_length}')


def _check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), not {dropout}")


def _check_deviation(deviation: float) -> None:
    if deviation <= 0:
        raise ValueError(f"embedding_deviation must be above 0, not {deviation}")


@dataclass(frozen=True)
class ItemVectorSettings:
    """Settings of models that read item vectors and score with item vectors.

    Attributes:
        dimensions: width of item embeddings and states.
        dropout: share of activations dropped while training.
        max_length: longest history that is read, in items; of a longer one the most recent are read. ``auto``
            derives it from the training histories.
        item_embedding: ``dense``, or ``joint_product_quantised`` (RecJPQ), which needs codes.
        separate_output_embedding: score items with embeddings of their own instead of the input embeddings.
        embedding_deviation: standard deviation of the normal distribution that embeddings start from.
    """

    dimensions: int
    dropout: float
    max_length: MaxLength
    item_embedding: Literal["dense", "joint_product_quantised"]
    separate_output_embedding: bool
    embedding_deviation: float

    def __post_init__(self) -> None:
        _check_at_least_one(self, "dimensions")
        _check_max_length(self.max_length)
        _check_dropout(self.dropout)
        _check_deviation(self.embedding_deviation)

    @property
    def needs_codes(self) -> bool:
        """Whether the model is built on codes."""
        return self.item_embedding == "joint_product_quantised"


@dataclass(frozen=True)
class _TransformerSettings(ItemVectorSettings):
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
        _check_at_least_one(self, "blocks", "heads", "feed_forward_dimensions")
        _check_heads(self)


@dataclass(frozen=True)
class SASRecSettings(_TransformerSettings):
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
class BERT4RecSettings(_TransformerSettings):
    """BERT4Rec (Sun et al., CIKM 2019).

    Attributes:
        item_biases: add a trained bias to the score of each item, as published.

    The published ``feed_forward_dimensions`` are four times ``dimensions``. ``max_length`` counts the mask that is
    appended to a history that is to be ranked for.
    """

    item_biases: bool

    model: ClassVar[str] = "ml.models.bert4rec:BERT4Rec"
    reads_masks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.max_length, int) and self.max_length < 2:
            raise ValueError(f"max_length must be at least 2, an item and a mask, not {self.max_length}")


@dataclass(frozen=True)
class BSARecSettings(_TransformerSettings):
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


@dataclass(frozen=True)
class GRU4RecSettings(ItemVectorSettings):
    """GRU4Rec (Hidasi et al., ICLR 2016).

    Attributes:
        layers: GRU layers, one above the other.
        hidden_dimensions: width of their states.
    """

    layers: int
    hidden_dimensions: int

    model: ClassVar[str] = "ml.models.gru4rec:GRU4Rec"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_at_least_one(self, "layers", "hidden_dimensions")


@dataclass(frozen=True)
class CaserSettings:
    """Caser (Tang and Wang, WSDM 2018).

    Attributes:
        dimensions: width of the item embeddings that are read, and of the user vectors.
        window: how many of the latest items are looked at, ``L`` of the paper.
        horizontal_filters: filters of each height from 1 to ``window``.
        vertical_filters: weighted sums over the window.
        user_vectors: put a vector of the user beside the state, as published; zeros for a user who is not known.
        dropout: share of the outputs of the filters dropped while training.
        max_length: longest history that is trained on, in items; of a longer one the most recent. ``auto`` derives
            it from the training histories.
        embedding_deviation: standard deviation of the normal distribution that embeddings start from.
    """

    dimensions: int
    window: int
    horizontal_filters: int
    vertical_filters: int
    user_vectors: bool
    dropout: float
    max_length: MaxLength
    embedding_deviation: float

    model: ClassVar[str] = "ml.models.caser:Caser"

    def __post_init__(self) -> None:
        _check_at_least_one(self, "dimensions", "window", "horizontal_filters", "vertical_filters")
        _check_max_length(self.max_length)
        _check_dropout(self.dropout)
        _check_deviation(self.embedding_deviation)


@dataclass(frozen=True)
class FPMCSettings:
    """FPMC (Rendle, Freudenthaler and Schmidt-Thieme, WWW 2010).

    Attributes:
        dimensions: width of each of the two factorisations, of users by items and of last items by items.
        max_length: longest history that is trained on, in items; of a longer one the most recent. ``auto`` derives
            it from the training histories.
        embedding_deviation: standard deviation of the normal distribution that all vectors start from.
    """

    dimensions: int
    max_length: MaxLength
    embedding_deviation: float

    model: ClassVar[str] = "ml.models.fpmc:FPMC"

    def __post_init__(self) -> None:
        _check_at_least_one(self, "dimensions")
        _check_max_length(self.max_length)
        _check_deviation(self.embedding_deviation)


@dataclass(frozen=True)
class MatrixFactorisationSettings:
    """Matrix factorisation, as trained by BPR (Rendle et al., UAI 2009).

    Attributes:
        dimensions: width of user and item vectors.
        max_length: longest history that is trained on, in items; of a longer one the most recent. ``auto`` derives
            it from the training histories.
        embedding_deviation: standard deviation of the normal distribution that vectors start from.
    """

    dimensions: int
    max_length: MaxLength
    embedding_deviation: float

    model: ClassVar[str] = "ml.models.matrix_factorisation:MatrixFactorisation"

    def __post_init__(self) -> None:
        _check_at_least_one(self, "dimensions")
        _check_max_length(self.max_length)
        _check_deviation(self.embedding_deviation)


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

    model: ClassVar[str] = "ml.models.item_codes.model:ItemCodes"
    needs_codes: ClassVar[bool] = True
    generates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_at_least_one(self, "dimensions", "blocks", "heads", "feed_forward_dimensions", "head_dimensions")
        _check_max_length(self.max_length)
        _check_dropout(self.dropout)
        _check_deviation(self.embedding_deviation)
        if self.head_deviation <= 0 or self.temperature <= 0:
            raise ValueError("head_deviation and temperature must be above 0")
        _check_heads(self)
        _check_not_negative(self, "beam_width", "dense_candidates")
        if self.dense_candidates and self.beam_width:
            raise ValueError("beam_width must be 0 with dense_candidates: they are chosen among all items")
        if self.dense_candidates and self.head == "prefix":
            raise ValueError("dense_candidates go with the heads tree and parallel, which score all items at once")
        if self.head == "parallel" and self.beam_width:
            raise ValueError("beam_width must be 0 for the head parallel: its codes have no order to search along")


@dataclass(frozen=True)
class GPTRecSettings(_TransformerSettings):
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
        _check_at_least_one(self, "list_length")
        _check_not_negative(self, "marks")
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
        _check_at_least_one(self, "dimensions", "blocks", "heads", "feed_forward_dimensions", "list_length")
        _check_max_length(self.max_length)
        _check_dropout(self.dropout)
        _check_deviation(self.embedding_deviation)
        _check_heads(self)
        _check_not_negative(self, "beam_width")
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
        _check_at_least_one(
            self,
            "dimensions",
            "heads",
            "head_dimensions",
            "feed_forward_dimensions",
            "encoder_blocks",
            "decoder_blocks",
        )
        _check_max_length(self.max_length)
        _check_dropout(self.dropout)
        _check_deviation(self.embedding_deviation)
        _check_not_negative(self, "user_tokens", "beam_width", "widest_beam")


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


# a dataclass; of one's own models it is the class `Settings` of the model's file
ModelSettings = Any


def needs_codes(settings: ModelSettings) -> bool:
    """Whether a model is built on codes: what its settings say under ``needs_codes``, a property or class variable."""
    return bool(getattr(settings, "needs_codes", False))


def generates(settings: ModelSettings) -> bool:
    """Whether a model generates identifiers, code by code: ``generates`` of its settings."""
    return bool(getattr(settings, "generates", False))


def writes_lists(settings: ModelSettings) -> bool:
    """Whether a model writes lists item by item: ``writes_lists`` of its settings."""
    return bool(getattr(settings, "writes_lists", False))


class _Architectures(Mapping[str, type]):
    """Settings classes by architecture: those above, and ``Settings`` of ``ml/models/<architecture>.py``.

    A file is imported when a recipe names it, and torch with it; an import takes seconds. The settings of the models
    that ship stand above for that reason alone: recipes are read wherever the graph of assets is loaded.
    """

    def __init__(self, shipped: dict[str, type]) -> None:
        self._shipped = shipped

    def __getitem__(self, architecture: str) -> type:
        if architecture in self._shipped:
            return self._shipped[architecture]
        name = f"{_PACKAGE}.{architecture}"
        if not architecture.isidentifier() or importlib.util.find_spec(name) is None:
            raise KeyError(architecture)
        module = importlib.import_module(name)
        if not (is_dataclass(getattr(module, "Settings", None)) and hasattr(module, "Model")):
            raise KeyError(architecture)
        return module.Settings

    def __iter__(self) -> Iterator[str]:
        return iter(self._shipped)

    def __len__(self) -> int:
        return len(self._shipped)


MODEL_SETTINGS: Mapping[str, type] = _Architectures(
    {
        "bert4rec": BERT4RecSettings,
        "bsarec": BSARecSettings,
        "caser": CaserSettings,
        "fpmc": FPMCSettings,
        "genrec": GenRecSettings,
        "gptrec": GPTRecSettings,
        "gptrec_codes": GPTRecCodesSettings,
        "gru4rec": GRU4RecSettings,
        "item_codes": ItemCodesSettings,
        "matrix_factorisation": MatrixFactorisationSettings,
        "sasrec": SASRecSettings,
        "tiger": TIGERSettings,
    }
)
