"""BERT4Rec: a bidirectional transformer that fills in masked items (Sun et al., CIKM 2019)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.belonging import OF_ITEMS
from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.item_biases import BiasedItemEmbedding, with_one
from ml.models.item_embeddings import ItemEmbedding
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import BERT4RecSettings
from ml.models.transformer import BERT_NORM_EPSILON, BERTBlock, DeBERTaBlock


class BERT4Rec(ItemSequenceModel):
    """Histories with masked places to hidden states, to be read at the masked places.

    The item index ``items``, one past the catalogue, stands for a masked place. It has an input vector and no output
    vector: neither mask nor padding can be recommended. Positions are counted from the end of the history, as they
    are where histories are padded on the left. States pass a linear layer, a GELU and a norm before they are scored
    (equation 7 of the paper).

    With the setting ``block = "albert"`` all layers share the weights of one block. With ``"deberta"`` positions are
    relative: each layer reads the distance between two places, and no position is added to the items.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    belongs: ClassVar[dict[str, str]] = {"item_biases": OF_ITEMS}

    def __init__(self, settings: BERT4RecSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.item_biases = nn.Parameter(torch.zeros(catalogue.items)) if settings.item_biases else None
        self.mask = nn.Parameter(torch.empty(settings.dimensions).normal_(std=settings.embedding_deviation))
        self.relative = settings.block == "deberta"
        # of absolute positions, or of the distances from 1 - max_length to max_length - 1
        places = 2 * self.max_length - 1 if self.relative else self.max_length
        self.positions = nn.Parameter(
            torch.empty(places, settings.dimensions).normal_(std=settings.embedding_deviation)
        )
        self.norm = nn.LayerNorm(settings.dimensions, eps=BERT_NORM_EPSILON)
        self.dropout = Dropout(settings.dropout)
        self.layers = settings.blocks
        block = DeBERTaBlock if self.relative else BERTBlock
        self.blocks = nn.ModuleList(
            block(settings.dimensions, settings.heads, settings.feed_forward_dimensions, settings.dropout)
            for _ in range(1 if settings.block == "albert" else settings.blocks)
        )
        self.projection = nn.Linear(settings.dimensions, settings.dimensions)
        self.projection_norm = nn.LayerNorm(settings.dimensions, eps=BERT_NORM_EPSILON)

    @property
    def output_embedding(self) -> ItemEmbedding:
        vectors = super().output_embedding
        # put together here, not in the constructor: shared weights are to stand once among those of the model
        return vectors if self.item_biases is None else BiasedItemEmbedding(vectors, self.item_biases)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        places = torch.arange(items.shape[1], device=items.device) - lengths[:, None] + self.max_length
        visible = places < self.max_length
        masked = items == self.input_embedding.items
        vectors = self.input_embedding(items.masked_fill(masked, 0))
        hidden = torch.where(masked[..., None], self.mask, vectors)
        if not self.relative:
            hidden = hidden + F.embedding(places.clamp(max=self.max_length - 1), self.positions)
        hidden = self.dropout(self.norm(hidden))
        related = (self.dropout(self.positions),) if self.relative else ()
        for layer in range(self.layers):
            hidden = self.blocks[layer % len(self.blocks)](hidden, visible, *related)
        hidden = self.projection_norm(F.gelu(self.projection(hidden)))
        return hidden if self.item_biases is None else with_one(hidden)
