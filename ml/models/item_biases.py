"""Item vectors with a bias: a score is the dot product and the bias of the item.

The bias is one more dimension of the item vectors, for states that hold a 1 there. So a score stays the dot product of
a state and a vector, and whoever scores needs to know of no bias.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding


def with_one(states: Tensor) -> Tensor:
    """States with a 1 as one more dimension, which the item's bias is multiplied by: ``[..., dimensions + 1]``."""
    return F.pad(states, (0, 1), value=1.0)


def dense_with_bias(items: int, dimensions: int, deviation: float) -> DenseItemEmbedding:
    """A table with a row an item, ``[items, dimensions + 1]``: its vector, and its bias, which starts at 0."""
    embedding = DenseItemEmbedding(items, dimensions + 1, deviation)
    with torch.no_grad():
        embedding.weight[:, -1] = 0
    return embedding


class BiasedItemEmbedding(ItemEmbedding):
    """Biases beside vectors that are used without them elsewhere.

    Args:
        vectors: the item vectors without the bias.
        biases: ``[items]``.
    """

    def __init__(self, vectors: ItemEmbedding, biases: nn.Parameter) -> None:
        super().__init__(vectors.items, vectors.dimensions + 1)
        self.vectors = vectors
        self.biases = biases

    def forward(self, items: Tensor) -> Tensor:
        return torch.cat([self.vectors(items), F.embedding(items, self.biases[:, None])], dim=-1)

    def score_all(self, states: Tensor) -> Tensor:
        return self.vectors.score_all(states[:, :-1]) + states[:, -1:] * self.biases

    def score_shared(self, states: Tensor, candidates: Tensor) -> Tensor:
        return self.vectors.score_shared(states[:, :-1], candidates) + states[:, -1:] * self.biases[candidates]

    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        return self.vectors.score_each(states[:, :-1], candidates) + states[:, -1:] * self.biases[candidates]
