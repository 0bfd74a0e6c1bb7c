"""Caser: convolutions over the vectors of the latest items (Tang and Wang, WSDM 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.item_biases import dense_with_bias, with_one
from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding
from ml.models.sequential_model import SequentialModel
from ml.models.settings import CaserSettings, decided_length
from ml.models.user_vectors import UserVectors


class Caser(SequentialModel):
    """At each position the last ``window`` item vectors as a picture, ``[window, dimensions]``.

    Horizontal filters of each height from 1 to ``window`` slide over it, and of each the largest value is kept;
    vertical filters are weighted sums of its rows. A linear layer with a ReLU makes a state of both (equations 4 to
    10 of the paper). Places before the first item are zeros. One position is one training case of the paper, with
    one target: its option of several targets a case is left out.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: CaserSettings, catalogue: Catalogue) -> None:
        super().__init__()
        self.max_length = decided_length(settings.max_length)
        self.window = settings.window
        dimensions, deviation = settings.dimensions, settings.embedding_deviation
        self.input_embedding = DenseItemEmbedding(catalogue.items, dimensions, deviation)
        self.heights = range(1, settings.window + 1)
        self.horizontal = nn.ModuleList(
            nn.Conv1d(dimensions, settings.horizontal_filters, height) for height in self.heights
        )
        self.vertical = nn.Linear(settings.window, settings.vertical_filters, bias=False)
        self.dropout = Dropout(settings.dropout)
        filtered = settings.window * settings.horizontal_filters + settings.vertical_filters * dimensions
        self.joined = nn.Linear(filtered, dimensions)
        self.users = UserVectors(catalogue.users, dimensions, deviation) if settings.user_vectors else None
        width = 2 * dimensions if settings.user_vectors else dimensions
        self.output_vectors = dense_with_bias(catalogue.items, width, deviation)

    @property
    def output_embedding(self) -> ItemEmbedding:
        return self.output_vectors

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        # zeros before the first item, so that the window of every position is whole: [batch, dimensions, places]
        picture = F.pad(self.input_embedding(items).transpose(1, 2), (self.window - 1, 0))
        # A filter of one height gives the same value wherever a window meets the same items: it runs once over the
        # whole row, and the largest value within each window is taken after.
        largest = [
            F.max_pool1d(F.relu(filters(picture)), self.window - height + 1, stride=1)
            for height, filters in zip(self.heights, self.horizontal, strict=True)
        ]
        # [batch, dimensions, length, window] to [batch, length, filters * dimensions]
        summed = self.vertical(picture.unfold(2, self.window, 1)).permute(0, 2, 3, 1).flatten(2)
        filtered = torch.cat([*(part.transpose(1, 2) for part in largest), summed], dim=2)
        states = F.relu(self.joined(self.dropout(filtered)))
        if self.users is not None:
            states = torch.cat([states, self.users(users)[:, None].expand_as(states)], dim=2)
        return with_one(states)
