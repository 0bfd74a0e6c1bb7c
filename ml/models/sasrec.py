"""SASRec: a causal transformer over the items of a history (Kang and McAuley, ICDM 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.item_embeddings import ItemEmbedding
from ml.models.settings import SASRecSettings
from ml.models.transformer import BLOCKS


class SASRec(nn.Module):
    """Histories to hidden states, one a position, whose dot products with item vectors are scores.

    As in gSASRec's published code the item embeddings are not scaled, and are used as they are for scoring
    unless the settings ask for separate ones. Positions are counted from the end of the history, as they are
    where histories are padded on the left: the last item of each history has the same position.

    Args:
        settings: sizes and options.
        input_embedding: vectors of the items of histories.
        output_embedding: vectors that states are scored against; ``None`` scores with ``input_embedding``.
    """

    def __init__(
        self,
        settings: SASRecSettings,
        input_embedding: ItemEmbedding,
        output_embedding: ItemEmbedding | None = None,
    ) -> None:
        super().__init__()
        self.max_length = settings.max_length
        self.input_embedding = input_embedding
        self.separate_output_embedding = output_embedding
        self.positions = nn.Parameter(
            torch.empty(settings.max_length, settings.dimensions).normal_(std=settings.embedding_deviation)
        )
        self.dropout = nn.Dropout(settings.dropout)
        block = BLOCKS[settings.block]
        self.blocks = nn.ModuleList(
            block(settings.dimensions, settings.heads, settings.feed_forward_dimensions, settings.dropout)
            for _ in range(settings.blocks)
        )
        self.norm = nn.LayerNorm(settings.dimensions)

    @property
    def output_embedding(self) -> ItemEmbedding:
        """What states are scored against."""
        return self.input_embedding if self.separate_output_embedding is None else self.separate_output_embedding

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Hidden state after each position.

        Args:
            items: int64 ``[batch, length]``, oldest first, padded at the end with any item index.
            lengths: items in each row without the padding, int64 ``[batch]``, from 1 to ``max_length``.

        Returns:
            ``[batch, length, dimensions]``; states of padded positions mean nothing.
        """
        places = torch.arange(items.shape[1], device=items.device) - lengths[:, None] + self.max_length
        hidden = self.input_embedding(items) + F.embedding(places.clamp_(max=self.max_length - 1), self.positions)
        hidden = self.dropout(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden)
