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
        codes: uint8 or uint16 ``[items, books]`` for models that are built on codes, else ``None``.
        book_sizes: codes of each book; by default those in use.
        training_counts: training interactions of each item, int64 ``[items]``, for models that treat items in no
            training history apart; by default all items count as seen.
    """

    items: int
    users: int = 0
    codes: np.ndarray | None = None
    book_sizes: tuple[int, ...] | None = None
    training_counts: np.ndarray | None = None

    @property
    def sizes_of_books(self) -> tuple[int, ...]:
        """Codes of each book; none without codes."""
        if self.book_sizes is not None or self.codes is None:
            return self.book_sizes or ()
        return tuple(int(largest) + 1 for largest in self.codes.max(axis=0))

    @property
    def never_seen(self) -> np.ndarray:
        """Which items are in no training history, bool ``[items]``."""
        return np.zeros(self.items, dtype=bool) if self.training_counts is None else self.training_counts == 0

    def item_embedding(self, dimensions: int, deviation: float) -> ItemEmbedding:
        """Fresh item vectors: quantised ones where there are codes, else a row an item.

        Args:
            dimensions: width of the vectors.
            deviation: standard deviation of the normal distribution that they start from.
        """
        if self.codes is None:
            return DenseItemEmbedding(self.items, dimensions, deviation)
        return JointProductQuantisedItemEmbedding(self.codes, dimensions, deviation)
