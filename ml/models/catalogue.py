"""The catalogue that a model is built for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding, JointProductQuantisedItemEmbedding


@dataclass(frozen=True)
class Catalogue:
    """Items and users that a model is to have weights for.

    Attributes:
        items: size of the catalogue.
        users: users of the training set, for models with a vector for each.
        codes: uint8 ``[items, books]`` where items are joint product quantised, else ``None``.
    """

    items: int
    users: int = 0
    codes: np.ndarray | None = None

    def item_embedding(self, dimensions: int, deviation: float) -> ItemEmbedding:
        """Fresh item vectors: quantised ones where there are codes, else a row an item.

        Args:
            dimensions: width of the vectors.
            deviation: standard deviation of the normal distribution that they start from.
        """
        if self.codes is None:
            return DenseItemEmbedding(self.items, dimensions, deviation)
        return JointProductQuantisedItemEmbedding(self.codes, dimensions, deviation)
