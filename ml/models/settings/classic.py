"""Settings of models without attention: factorisations, recurrent and convolutional ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.models.settings.common import (
    ItemVectorSettings,
    MaxLength,
    check_at_least_one,
    check_deviation,
    check_dropout,
    check_max_length,
)


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
        check_at_least_one(self, "layers", "hidden_dimensions")


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
        check_at_least_one(self, "dimensions", "window", "horizontal_filters", "vertical_filters")
        check_max_length(self.max_length)
        check_dropout(self.dropout)
        check_deviation(self.embedding_deviation)

    @property
    def knows_users(self) -> bool:
        return self.user_vectors


@dataclass(frozen=True)
class NextItNetSettings(ItemVectorSettings):
    """NextItNet (Yuan et al., WSDM 2019).

    Attributes:
        filter_width: positions that a filter reads.
        dilations: of the first convolution of each residual block; the second one has twice as much.
    """

    filter_width: int
    dilations: tuple[int, ...]

    model: ClassVar[str] = "ml.models.nextitnet:NextItNet"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "filter_width")
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError(
                f"dilations must be numbers of at least 1, at least one of them, not {list(self.dilations)}"
            )


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
    knows_users: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least_one(self, "dimensions")
        check_max_length(self.max_length)
        check_deviation(self.embedding_deviation)


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
    knows_users: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least_one(self, "dimensions")
        check_max_length(self.max_length)
        check_deviation(self.embedding_deviation)
