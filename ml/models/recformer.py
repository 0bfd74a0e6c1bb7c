"""Recformer's idea in the small: items and histories are texts, and one encoder reads both.

Li, Wang, Li, Fu, Shen, Shang and McAuley, "Text Is All You Need: Learning Language Representations for Sequential
Recommendation", KDD 2023, arXiv 2305.13731.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.cosine import UnitItemEmbedding, unit_states
from ml.models.dropout import Dropout
from ml.models.item_embeddings import ItemEmbedding
from ml.models.sequential_model import SequentialModel
from ml.models.settings import RecformerSettings, decided_length
from ml.models.text_embeddings import ComputedItemEmbedding
from ml.models.transformer import CausalAttention, PreNormBlock

# items that are encoded at once where all are
_ITEMS_AT_ONCE = 1024


class Recformer(SequentialModel):
    """Histories to states whose cosines with item vectors, divided by a temperature, are scores.

    An item is the sequence of its words, each the sum of vectors of the word, of its key (title, brand or category) and
    of its place in the item, and of a mark behind them. A history is the sequence of the words and marks of its items,
    with vectors of the items' places, counted from the end. A causal transformer reads it, and the state of the mark
    behind an item stands for the history up to there. The vector of an item is the state of the history of that item
    alone. There are no weights for items or users.

    The paper starts from the weights of a pretrained Longformer, which reads both ways, is trained on several datasets
    by contrast and by masked words, and is finetuned in two stages with item vectors that stay fixed during an epoch.
    Here a small encoder is trained from scratch, in one stage, by the objective alone.

    Args:
        settings: sizes and options.
        catalogue: with the words of the items.
    """

    def __init__(self, settings: RecformerSettings, catalogue: Catalogue) -> None:
        super().__init__()
        assert catalogue.words is not None  # build_model checked it
        self.max_length = decided_length(settings.max_length)
        self.temperature = settings.temperature
        self.item_vectors = EncodedItems(WordEncoder(settings, torch.from_numpy(catalogue.words)))

    @property
    def output_embedding(self) -> ItemEmbedding:
        return UnitItemEmbedding(self.item_vectors)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        return unit_states(self.item_vectors.encoder(items, lengths), self.temperature)


class EncodedItems(ComputedItemEmbedding):
    """The vector of each item: what an encoder makes of the history of that item alone."""

    # items that are asked for twice are encoded once
    computes_each_once = True

    def __init__(self, encoder: WordEncoder) -> None:
        super().__init__(len(encoder.words), encoder.dimensions)
        self.encoder = encoder

    def compute(self, items: Tensor) -> Tensor:
        flat = items.reshape(-1, 1)
        # at once they would need memory for all words of the catalogue
        parts = [self.encoder(part, torch.ones_like(part[:, 0]))[:, 0] for part in flat.split(_ITEMS_AT_ONCE)]
        return torch.cat(parts).view(*items.shape, self.dimensions)


class WordEncoder(nn.Module):
    """Items, as words, to the states of the marks behind them.

    Args:
        settings: sizes.
        words: of :func:`ml.text.words.item_words`, int32 ``[items, words, 2]``.
    """

    # words and keys of each item, then the mark, whose word and key are 0; and what is read of these
    words: Tensor
    keys: Tensor
    read: Tensor

    def __init__(self, settings: RecformerSettings, words: Tensor) -> None:
        super().__init__()
        self.dimensions = settings.dimensions
        self.max_length = decided_length(settings.max_length)
        marks = torch.zeros(len(words), 1, 2, dtype=words.dtype)
        tokens = torch.cat([words, marks], dim=1).long()
        # not stored: they are saved beside the weights
        self.register_buffer("words", tokens[:, :, 0].contiguous(), persistent=False)
        self.register_buffer("keys", tokens[:, :, 1].contiguous(), persistent=False)
        read = self.words > 0
        read[:, -1] = True
        self.register_buffer("read", read, persistent=False)

        def table(rows: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(rows, settings.dimensions).normal_(std=settings.embedding_deviation))

        self.word_vectors = table(int(self.words.max()) + 1)
        self.key_vectors = table(int(self.keys.max()) + 1)
        self.places_in_item = table(self.words.shape[1])
        self.places_of_items = table(self.max_length)
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            _WordBlock(settings.dimensions, settings.heads, settings.feed_forward_dimensions, settings.dropout)
            for _ in range(settings.blocks)
        )
        self.norm = nn.LayerNorm(settings.dimensions)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """States of the marks, ``[batch, length, dimensions]``, of items and lengths as models take them."""
        batch, length = items.shape
        tokens = self.words.shape[1]
        places = torch.arange(length, device=items.device) - lengths[:, None] + self.max_length
        of_items = F.embedding(places.clamp_(max=self.max_length - 1), self.places_of_items)
        vectors = F.embedding(self.words[items], self.word_vectors) + F.embedding(self.keys[items], self.key_vectors)
        hidden = self.dropout((vectors + self.places_in_item + of_items[:, :, None]).flatten(1, 2))
        # no later token, and no padding between the words of an item and its mark
        causal = torch.ones(length * tokens, length * tokens, dtype=torch.bool, device=items.device).tril()
        visible = self.read[items].view(batch, 1, -1) & causal
        visible |= torch.eye(length * tokens, dtype=torch.bool, device=items.device)
        marks = torch.arange(tokens - 1, length * tokens, tokens, device=items.device)
        *first, last = self.blocks
        for block in first:
            hidden = block(hidden, visible)
        assert isinstance(last, _WordBlock)
        # nothing but the marks is read of it
        return self.norm(last.at(hidden, marks, visible[:, marks]))


class _WordAttention(CausalAttention):
    """Attention that sees what it is told to see."""

    def forward(self, queries: Tensor, inputs: Tensor, visible: Tensor | None = None) -> Tensor:
        return self.attend(queries, inputs, visible)


class _WordBlock(PreNormBlock):
    """The pre-norm block with attention to the words that are there."""

    def __init__(self, dimensions: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__(dimensions, heads, inner, dropout)
        self.attention = _WordAttention(dimensions, heads, dropout, output_projection=True)

    def at(self, inputs: Tensor, places: Tensor, visible: Tensor) -> Tensor:
        """The block's output at some places, ``[batch, places, dimensions]``."""
        normalised, read = self.attention_norm(inputs), inputs[:, places]
        read = read + self.attention_dropout(self.attention(normalised[:, places], normalised, visible))
        return read + self.feed_forward(self.feed_forward_norm(read))
