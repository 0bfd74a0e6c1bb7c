"""A category sequence that helps the item sequence, after CaFe (Li et al., "Coarse-to-Fine Sparse Sequential
Recommendation", SIGIR 2022, arXiv 2204.01839).

Categories are few and seen often, items are many and some are seen a handful of times. What kind of item comes next is
therefore learnt from fewer histories than which one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.item_embeddings import ItemEmbedding
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import CaFeSettings
from ml.models.transformer import PreNormBlock


class CaFe(ItemSequenceModel):
    """Histories to hidden states whose dot products with item vectors are scores.

    A narrow transformer reads the categories of a history (the intents of the paper), and its states are added to the
    item vectors that a second one reads. The score of an item is the sum of two: that of its category by the first, and
    its own by the second. A softmax over such scores is a product of a coarse and a fine distribution, as is the joint
    probability of intent and item in the paper.

    What the paper has beyond this is left out: attention of the first encoder to near items alone, the removal of
    intents that repeat, and a loss of the intents' own. Items of unknown category share a category.

    Args:
        settings: sizes.
        catalogue: what there are vectors for, with the categories of the items.
    """

    categories: Tensor

    def __init__(self, settings: CaFeSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        assert catalogue.categories is not None  # build_model checked it
        # not stored: they are saved beside the weights
        self.register_buffer("categories", torch.from_numpy(catalogue.categories), persistent=False)
        deviation, narrow = settings.embedding_deviation, settings.category_dimensions

        def table(rows: int, dimensions: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(rows, dimensions).normal_(std=deviation))

        self.category_vectors = table(int(catalogue.categories.max()) + 1, narrow)
        self.category_positions = table(self.max_length, narrow)
        self.positions = table(self.max_length, settings.dimensions)
        self.dropout = Dropout(settings.dropout)
        self.category_blocks = nn.ModuleList(
            PreNormBlock(narrow, settings.category_heads, narrow, settings.dropout)
            for _ in range(settings.category_blocks)
        )
        self.category_norm = nn.LayerNorm(narrow)
        self.intent = nn.Linear(narrow, settings.dimensions, bias=False)
        # so that intents start as small as the item vectors that they are added to
        nn.init.normal_(self.intent.weight, std=deviation / narrow**0.5)
        self.blocks = nn.ModuleList(
            PreNormBlock(settings.dimensions, settings.heads, settings.feed_forward_dimensions, settings.dropout)
            for _ in range(settings.blocks)
        )
        self.norm = nn.LayerNorm(settings.dimensions)

    @property
    def output_embedding(self) -> ItemEmbedding:
        """Vectors of items and of their categories side by side."""
        return ItemAndCategoryEmbedding(super().output_embedding, self.category_vectors, self.categories)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        places = torch.arange(items.shape[1], device=items.device) - lengths[:, None] + self.max_length
        places = places.clamp_(max=self.max_length - 1)
        coarse = F.embedding(self.categories[items], self.category_vectors)
        coarse = self.dropout(coarse + F.embedding(places, self.category_positions))
        for block in self.category_blocks:
            coarse = block(coarse)
        coarse = self.category_norm(coarse)
        fine = self.input_embedding(items) + F.embedding(places, self.positions) + self.intent(coarse)
        fine = self.dropout(fine)
        for block in self.blocks:
            fine = block(fine)
        return torch.cat([self.norm(fine), coarse], dim=-1)


class ItemAndCategoryEmbedding(ItemEmbedding):
    """The vector of an item followed by that of its category.

    Args:
        vectors: the item vectors.
        category_vectors: ``[categories, category dimensions]``.
        categories: category of each item, int64 ``[items]``.
    """

    def __init__(self, vectors: ItemEmbedding, category_vectors: nn.Parameter, categories: Tensor) -> None:
        super().__init__(vectors.items, vectors.dimensions + category_vectors.shape[1])
        self.vectors = vectors
        self.category_vectors = category_vectors
        self.register_buffer("categories", categories, persistent=False)

    categories: Tensor

    def forward(self, items: Tensor) -> Tensor:
        return torch.cat([self.vectors(items), F.embedding(self.categories[items], self.category_vectors)], dim=-1)

    def score_all(self, states: Tensor) -> Tensor:
        fine, coarse = self._parts(states)
        return self.vectors.score_all(fine) + (coarse @ self.category_vectors.T).index_select(1, self.categories)

    def score_shared(self, states: Tensor, candidates: Tensor) -> Tensor:
        fine, coarse = self._parts(states)
        of_categories = (coarse @ self.category_vectors.T).index_select(1, self.categories[candidates])
        return self.vectors.score_shared(fine, candidates) + of_categories

    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        fine, coarse = self._parts(states)
        of_categories = (coarse @ self.category_vectors.T).gather(1, self.categories[candidates])
        return self.vectors.score_each(fine, candidates) + of_categories

    def _parts(self, states: Tensor) -> tuple[Tensor, Tensor]:
        return states[:, : self.vectors.dimensions], states[:, self.vectors.dimensions :]
