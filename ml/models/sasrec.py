"""SASRec: a causal transformer over the items of a history (Kang and McAuley, ICDM 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import SASRecSettings
from ml.models.transformer import BLOCKS


class SASRec(ItemSequenceModel):
    """Histories to hidden states, one a position, whose dot products with item vectors are scores.

    As in gSASRec's published code the item embeddings are not scaled, and are used as they are for scoring
    unless the settings ask for separate ones. Positions are counted from the end of the history, as they are
    where histories are padded on the left: the last item of each history has the same position.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: SASRecSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.positions = nn.Parameter(
            torch.empty(self.max_length, settings.dimensions).normal_(std=settings.embedding_deviation)
        )
        self.dropout = Dropout(settings.dropout)
        block = BLOCKS[settings.block]
        self.blocks = nn.ModuleList(
            block(settings.dimensions, settings.heads, settings.feed_forward_dimensions, settings.dropout)
            for _ in range(settings.blocks)
        )
        self.norm = nn.LayerNorm(settings.dimensions)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        return self.encoded(items, lengths)

    def encoded(self, items: Tensor, lengths: Tensor, *related: Tensor | None) -> Tensor:
        """States at every position; ``related`` is handed to each block beside its input."""
        hidden = self.embedded(items, lengths)
        for block in self.blocks:
            hidden = block(hidden, *related)
        return self.norm(hidden)

    def embedded(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Inputs of the first block: vectors of items and positions, ``[batch, length, dimensions]``."""
        places = torch.arange(items.shape[1], device=items.device) - lengths[:, None] + self.max_length
        hidden = self.input_embedding(items) + F.embedding(places.clamp_(max=self.max_length - 1), self.positions)
        return self.dropout(hidden)
