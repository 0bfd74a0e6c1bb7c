"""Scores that are cosines: states and item vectors of length 1, so that no item is ranked high for its length alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ml.models.item_embeddings import ItemEmbedding


def unit_states(states: Tensor, temperature: float) -> Tensor:
    """States of length 1, divided by the temperature, ``[..., dimensions]``: their dot products with unit vectors are
    cosines over the temperature, whose softmax is InfoNCE (van den Oord et al., arXiv 1807.03748)."""
    return F.normalize(states, dim=-1) / temperature


class UnitItemEmbedding(ItemEmbedding):
    """Item vectors scaled to length 1.

    Args:
        vectors: the item vectors of any length.
    """

    def __init__(self, vectors: ItemEmbedding) -> None:
        super().__init__(vectors.items, vectors.dimensions)
        self.vectors = vectors

    def forward(self, items: Tensor) -> Tensor:
        return F.normalize(self.vectors(items), dim=-1)

    def score_all(self, states: Tensor) -> Tensor:
        return states @ self(torch.arange(self.items, device=states.device)).T

    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        if self.items <= candidates.numel():
            return self.score_all(states).gather(1, candidates)
        return torch.einsum("rd,rcd->rc", states, self(candidates))
