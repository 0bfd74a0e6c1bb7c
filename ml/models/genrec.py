"""GenRec: an encoder-decoder that generates the codes of a masked item (Cao and Lio, "GenRec: Generative Sequential
Recommendation with Large Language Models", arXiv 2407.21191)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ml.models.catalogue import Catalogue
from ml.models.settings import GenRecSettings
from ml.models.tiger import TIGER


class GenRec(TIGER):
    """Histories with one masked item to distributions over the codes of that item.

    The item index ``items``, one past the catalogue, stands for the masked item. Each of its tokens is a vector that
    stands for a mask of its level. The encoder sees the items before and after it, and predictions are read at its
    place.

    The paper starts from BART, whose tokens are pieces of text; here tokens are codes and weights are drawn anew.

    Args:
        settings: sizes and options.
        catalogue: gives the codes, unique for each item.
    """

    def __init__(self, settings: GenRecSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.mask = nn.Parameter(
            torch.empty(self.levels, settings.dimensions).normal_(std=settings.embedding_deviation)
        )

    def _items_read(self, lengths: Tensor, positions: Tensor, width: int) -> Tensor:
        return lengths[torch.div(positions, width, rounding_mode="floor")]

    def _vectors_of(self, items: Tensor) -> Tensor:
        masked = items == self.items
        return torch.where(masked[..., None, None], self.mask, super()._vectors_of(items.masked_fill(masked, 0)))
