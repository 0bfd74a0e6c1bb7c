"""Item vectors from the text of the items, for any model that reads and scores item vectors.

Ways to use vectors of text (``item_embedding`` of a recipe):

- ``text``: a linear projection of the text in place of a trained row an item. An item that nobody has interacted with
  has a vector like any other.
- ``text_init``: a trained row an item that starts from the text.
- ``text_and_id``: the sum of both, the trained row weighted by a gate.
- ``text_experts`` and ``text_experts_and_id``: the first and the last with a mixture of projections.

Sources: Hou et al., "Towards Universal Sequence Representation Learning for Recommender Systems", KDD 2022 (text in
place of ids, and added to them); Harte et al., "Leveraging Large Language Models for Sequential Recommendation", RecSys
2023 (rows that start from text, reduced by principal components); Yuan et al., "Where to Go Next for Recommender
Systems? ID- vs. Modality-based Recommender Models Revisited", SIGIR 2023 (comparison of ids and text).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.belonging import OF_ITEMS
from ml.models.dropout import Dropout
from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding

# of a gate, as published
_LEAST_NOISE = 0.01


class ComputedItemEmbedding(ItemEmbedding):
    """Item vectors that a network computes from what is known of the items.

    While training only the vectors that are asked for are computed. Without gradients and in evaluation mode all are
    computed once, and again where a weight has changed since: by an optimiser, a moving average or loaded weights.
    """

    # whether a vector costs so much that looking for repeated items pays
    computes_each_once = False

    def __init__(self, items: int, dimensions: int) -> None:
        super().__init__(items, dimensions)
        self._table: Tensor | None = None
        self._table_of: tuple[tuple[int, int], ...] = ()

    @abstractmethod
    def compute(self, items: Tensor) -> Tensor:
        """Vectors of the given items, differentiable: int64 ``[...]`` to ``[..., dimensions]``."""

    def table(self) -> Tensor:
        """Vectors of all items, ``[items, dimensions]``."""
        weights = tuple(self.parameters())
        if self.training or torch.is_grad_enabled():
            return self.compute(torch.arange(self.items, device=weights[0].device))
        # the number of in-place changes of a tensor, which torch counts for autograd
        now = tuple((weight.data_ptr(), weight._version) for weight in weights)
        if self._table is None or self._table_of != now:
            self._table = self.compute(torch.arange(self.items, device=weights[0].device))
            self._table_of = now
        return self._table

    def train(self, mode: bool = True) -> ComputedItemEmbedding:
        self._table = None
        return super().train(mode)

    def forward(self, items: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled():
            if not self.computes_each_once:
                return self.compute(items)
            # popular items stand in a batch many times
            distinct, places = torch.unique(items, return_inverse=True)
            return F.embedding(places, self.compute(distinct))
        return F.embedding(items, self.table())

    def score_all(self, states: Tensor) -> Tensor:
        return states @ self.table().T

    def score_all_into(self, out: Tensor, states: Tensor) -> Tensor:
        return torch.mm(states, self.table().T, out=out)

    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        # the vectors of a row's own candidates are as large as those of the catalogue soon
        if self.items <= candidates.numel():
            return self.score_all(states).gather(1, candidates)
        return torch.einsum("rd,rcd->rc", states, self(candidates))


class TextItemEmbedding(ComputedItemEmbedding):
    """A linear projection of vectors of text.

    The vectors are scaled to a mean squared length of 1, so that projected ones start with the standard deviation of
    trained rows, and step sizes that suit these suit the projection.

    Args:
        text: vectors of the items' text, ``[items, text dimensions]``; zero rows for items without a word, which all
            have the same vector, the bias.
        dimensions: width of the projected vectors.
        deviation: standard deviation that they start with, and that of the weights of another projection.
        projection: another network, ``[..., text dimensions]`` to ``[..., dimensions]``; its linear layers start from
            the deviation too.
    """

    text: Tensor

    def __init__(
        self, text: np.ndarray, dimensions: int, deviation: float, projection: nn.Module | None = None
    ) -> None:
        super().__init__(len(text), dimensions)
        self.register_buffer("text", torch.from_numpy(of_unit_length(text)), persistent=False)
        self.projection = nn.Linear(text.shape[1], dimensions) if projection is None else projection
        self.computes_each_once = projection is not None
        for layer in self.projection.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=deviation)
                nn.init.zeros_(layer.bias)

    def compute(self, items: Tensor) -> Tensor:
        return self.projection(F.embedding(items, self.text))


class Experts(nn.Module):
    """A mixture of projections of text: ``sum_k g_k(t) (W_k dropout(t) + b_k)``, UniSRec's adaptor.

    The paper writes an expert as a parametric whitening, ``(t - c_k) W_k``, which is the same function. The gates are a
    softmax of a linear function of the text. While training each has noise, whose deviation is a function of the text
    too, so that all experts are used (equations 3 and 4 of the paper; Shazeer et al., ICLR 2017).

    Args:
        text_dimensions: width of the text.
        dimensions: width of the projections.
        experts: how many. The published configuration has 8, with which a training step takes more than twice as long
            as one of ids.
        dropout: of the text, while training.
    """

    def __init__(self, text_dimensions: int, dimensions: int, experts: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.experts = nn.Linear(text_dimensions, experts * dimensions)
        # zeros, as published: all experts count alike at first
        self.gate = nn.Parameter(torch.zeros(text_dimensions, experts))
        self.noise = nn.Parameter(torch.zeros(text_dimensions, experts))

    def forward(self, text: Tensor) -> Tensor:
        projected = self.experts(self.dropout(text)).unflatten(-1, (self.gate.shape[1], -1))
        gates = text @ self.gate
        if self.training:
            gates = gates + torch.randn_like(gates) * (F.softplus(text @ self.noise) + _LEAST_NOISE)
        return (gates.softmax(dim=-1)[..., None] * projected).sum(dim=-2)


class TextAndIdItemEmbedding(TextItemEmbedding):
    """A projection of text plus a gated trained row: ``projection(text) + sigmoid(gate) * row``, with one gate a
    dimension.

    The row is what an item has beyond its text. An item that is in no training history has none: its row was never
    trained, and would be noise.

    Args:
        text: as for :class:`TextItemEmbedding`.
        never_seen: which items are in no training history, bool ``[items]``.
        dimensions: width of the vectors.
        deviation: standard deviation that projections and rows start with.
        projection: as for :class:`TextItemEmbedding`.
    """

    belongs: ClassVar[dict[str, str]] = {"weight": OF_ITEMS}
    has_row: Tensor

    def __init__(
        self,
        text: np.ndarray,
        never_seen: np.ndarray,
        dimensions: int,
        deviation: float,
        projection: nn.Module | None = None,
    ) -> None:
        super().__init__(text, dimensions, deviation, projection)
        self.weight = nn.Parameter(torch.empty(self.items, dimensions).normal_(std=deviation))
        self.gate = nn.Parameter(torch.zeros(dimensions))
        has_row = torch.from_numpy(~never_seen)[:, None].float()
        self.register_buffer("has_row", has_row, persistent=False)

    def compute(self, items: Tensor) -> Tensor:
        rows = F.embedding(items, self.weight) * F.embedding(items, self.has_row)
        return super().compute(items) + self.gate.sigmoid() * rows


def initialised_from_text(text: np.ndarray, dimensions: int, deviation: float) -> DenseItemEmbedding:
    """One trained row an item that starts from the text: its first dimensions, scaled to the deviation.

    Whitened vectors, and those of ``tf_idf_svd``, have the directions that vary most first. What the text does not
    fill, dimensions beyond its own and the rows of items without a word, starts from a normal distribution.

    Args:
        text: ``[items, text dimensions]``.
        dimensions: width of the rows.
        deviation: standard deviation that they start with.
    """
    embedding = DenseItemEmbedding(len(text), dimensions, deviation)
    first = np.asarray(text[:, :dimensions], dtype=np.float32)
    filled = first.any(axis=1)
    if filled.any():
        scaled = first[filled] * (deviation / np.sqrt((first[filled].astype(np.float64) ** 2).mean()))
        with torch.no_grad():
            embedding.weight[torch.from_numpy(filled), : first.shape[1]] = torch.from_numpy(scaled.astype(np.float32))
    return embedding


def of_unit_length(text: np.ndarray) -> np.ndarray:
    """Vectors divided by one number, with which those that are not zero have a mean squared length of 1, float32."""
    vectors = np.array(text, dtype=np.float32)
    squared = (vectors.astype(np.float64) ** 2).sum(axis=1)
    filled = squared > 0
    if filled.any():
        vectors /= np.sqrt(squared[filled].mean())
    return vectors
