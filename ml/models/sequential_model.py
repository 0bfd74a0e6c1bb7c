"""What the training loop and the ranking know of a model, whatever its layers are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from ml.models.catalogue import Catalogue
from ml.models.item_embeddings import ItemEmbedding
from ml.models.settings import ItemVectorSettings, decided_length


class SequentialModel(nn.Module, ABC):
    """Histories to states, whose dot products with the vectors of ``output_embedding`` are scores.

    Attributes:
        max_length: longest history that is read, in items; of a longer one the most recent are read.
        reads_times: whether :meth:`forward` takes times too, int64 ``[batch, length]``, or ``None`` where those of a
            history are not known.
    """

    max_length: int
    reads_times: ClassVar[bool] = False

    @property
    @abstractmethod
    def output_embedding(self) -> ItemEmbedding:
        """What states are scored against."""

    @abstractmethod
    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """States at every position.

        Args:
            items: int64 ``[batch, length]``, oldest first, padded at the end with any item index.
            lengths: items in each row without the padding, int64 ``[batch]``, from 1 to ``max_length``.
            users: user index of each row, -1 where it is not known, int64 ``[batch]``; most models ignore it.

        Returns:
            ``[batch, length, dimensions]``; states of padded positions mean nothing.
        """

    @property
    def items(self) -> int:
        """Size of the catalogue."""
        return self.output_embedding.items

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def states(
        self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor, times: Tensor | None = None
    ) -> Tensor:
        """States at the given places of ``items`` laid flat, int64 ``[states]`` to ``[states, dimensions]``.

        Args:
            items: as :meth:`forward` takes them, like ``lengths`` and ``users``.
            positions: the places.
            times: when the items were interacted with, seconds since 1970, int64 ``[batch, length]``, padded with the
                last one of a row; ``None`` where they are not known. Most models ignore them.
        """
        inputs = (items, lengths, users, times) if self.reads_times else (items, lengths, users)
        return self(*inputs).flatten(0, 1).index_select(0, positions)


class ItemSequenceModel(SequentialModel):
    """A model that reads item vectors and is scored against the same ones, or against vectors of their own.

    Args:
        settings: longest history, width and spread of the item vectors, and whether there are two sets of them.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: ItemVectorSettings, catalogue: Catalogue) -> None:
        super().__init__()
        self.max_length = decided_length(settings.max_length)
        sizes = (settings.dimensions, settings.embedding_deviation, settings.item_embedding)
        self.input_embedding = catalogue.item_embedding(*sizes)
        self.separate_output_embedding = (
            catalogue.item_embedding(*sizes) if settings.separate_output_embedding else None
        )

    @property
    def output_embedding(self) -> ItemEmbedding:
        return self.input_embedding if self.separate_output_embedding is None else self.separate_output_embedding
