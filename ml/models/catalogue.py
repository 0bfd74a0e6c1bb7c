"""The catalogue that a model is built for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding, JointProductQuantisedItemEmbedding
from ml.models.text_embeddings import Experts, TextAndIdItemEmbedding, TextItemEmbedding, initialised_from_text


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
        text: vectors of the items' text, float32 ``[items, text dimensions]``, for models that read them; the rows of
            items without a word are 0.
        categories: category of each item, int64 ``[items]``, for models that read them: 0 where it is not known, from 1
            on the category labels in ascending order.
        words: words of each item and their keys, int32 ``[items, words, 2]``, for models that read them
            (:func:`ml.text.words.item_words`).
    """

    items: int
    users: int = 0
    codes: np.ndarray | None = None
    book_sizes: tuple[int, ...] | None = None
    training_counts: np.ndarray | None = None
    text: np.ndarray | None = None
    categories: np.ndarray | None = None
    words: np.ndarray | None = None

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

    def item_embedding(self, dimensions: int, deviation: float, kind: str | None = None) -> ItemEmbedding:
        """Fresh item vectors.

        Args:
            dimensions: width of the vectors.
            deviation: standard deviation of the normal distribution that they start from.
            kind: ``item_embedding`` of :class:`ml.models.settings.ItemVectorSettings`. The catalogue has the codes or
                the text that it needs. By default quantised ones where there are codes, else a row an item.
        """
        if kind is None:
            kind = "dense" if self.codes is None else "joint_product_quantised"
        if kind == "dense":
            return DenseItemEmbedding(self.items, dimensions, deviation)
        if kind == "joint_product_quantised":
            assert self.codes is not None  # build_model checked it
            return JointProductQuantisedItemEmbedding(self.codes, dimensions, deviation)
        assert self.text is not None  # likewise
        if kind == "text":
            return TextItemEmbedding(self.text, dimensions, deviation)
        if kind == "text_init":
            return initialised_from_text(self.text, dimensions, deviation)
        experts = Experts(self.text.shape[1], dimensions) if kind.startswith("text_experts") else None
        if kind == "text_experts":
            return TextItemEmbedding(self.text, dimensions, deviation, experts)
        return TextAndIdItemEmbedding(self.text, self.never_seen, dimensions, deviation, experts)
