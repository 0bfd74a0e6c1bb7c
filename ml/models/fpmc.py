"""FPMC: what a user likes, and what follows the last item (Rendle, Freudenthaler and Schmidt-Thieme, WWW 2010)."""

from __future__ import annotations

import torch
from torch import Tensor

from ml.models.catalogue import Catalogue
from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding
from ml.models.sequential_model import SequentialModel
from ml.models.settings import FPMCSettings, decided_length
from ml.models.user_vectors import UserVectors


class FPMC(SequentialModel):
    """The sum of two factorisations, users by items and last items by items, for baskets of one item.

    A state is the user's vector beside that of the last item, and an item's vector is its two vectors beside each
    other, so that their dot product is the sum (equation 6 of the paper, without the term that does not depend on
    the item). For a user who is not known (-1) the first half is zeros: the last item alone decides.

    Args:
        settings: sizes.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: FPMCSettings, catalogue: Catalogue) -> None:
        super().__init__()
        self.max_length = decided_length(settings.max_length)
        dimensions, deviation = settings.dimensions, settings.embedding_deviation
        self.users = UserVectors(catalogue.users, dimensions, deviation)
        self.last_items = DenseItemEmbedding(catalogue.items, dimensions, deviation)
        self.next_items = DenseItemEmbedding(catalogue.items, 2 * dimensions, deviation)

    @property
    def output_embedding(self) -> ItemEmbedding:
        return self.next_items

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        last = self.last_items(items)
        return torch.cat([self.users(users)[:, None].expand_as(last), last], dim=2)
