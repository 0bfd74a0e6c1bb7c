"""Item embeddings: items to vectors, and states to item scores.

Two kinds with one interface, so that a model does not know which it holds: a table with a row for each item,
and the joint product quantised form of RecJPQ, whose size does not grow with the width of the vectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CODES_PER_BOOK = 256
_CANDIDATES_AT_ONCE = 1 << 16


class ItemEmbedding(nn.Module, ABC):
    """Vectors of ``items`` items, each ``[dimensions]``."""

    def __init__(self, items: int, dimensions: int) -> None:
        super().__init__()
        self.items = items
        self.dimensions = dimensions

    @abstractmethod
    def forward(self, items: Tensor) -> Tensor:
        """Vectors of the given items: int64 ``[...]`` to ``[..., dimensions]``."""

    @abstractmethod
    def score_all(self, states: Tensor) -> Tensor:
        """Dot product of each state with each item: ``[rows, dimensions]`` to ``[rows, items]``."""

    def score_shared(self, states: Tensor, candidates: Tensor) -> Tensor:
        """Scores of candidates that all rows share: ``[rows, dimensions]``, int64 ``[candidates]`` to
        ``[rows, candidates]``."""
        return states @ self(candidates).T

    @abstractmethod
    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        """Scores of each row's own candidates: ``[rows, dimensions]``, int64 ``[rows, candidates]`` to
        ``[rows, candidates]``."""

    def score_target(self, states: Tensor, targets: Tensor) -> Tensor:
        """Score of one item a row: ``[rows, dimensions]``, int64 ``[rows]`` to ``[rows]``."""
        return (states * self(targets)).sum(dim=-1)


class DenseItemEmbedding(ItemEmbedding):
    """One trained row an item."""

    def __init__(self, items: int, dimensions: int, deviation: float) -> None:
        super().__init__(items, dimensions)
        self.weight = nn.Parameter(torch.empty(items, dimensions).normal_(std=deviation))

    def forward(self, items: Tensor) -> Tensor:
        return F.embedding(items, self.weight)

    def score_all(self, states: Tensor) -> Tensor:
        return states @ self.weight.T

    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        # A product with the whole table costs items * dimensions multiplications a row and runs near the
        # arithmetic limit; fetching the candidates' rows moves candidates * dimensions numbers, several
        # times over in the backward pass. Where the catalogue is small the product is the faster one.
        if self.items <= 32 * candidates.shape[1]:
            return self.score_all(states).gather(1, candidates)
        return torch.einsum("rd,rcd->rc", states, self(candidates))


class JointProductQuantisedItemEmbedding(ItemEmbedding):
    """RecJPQ (Petrov and Macdonald, WSDM 2024): an item is the concatenation of one vector from each book.

    ``codes[item, book]`` says which of the 256 vectors of a book the item uses. Codes are fixed, the books are
    trained. Scores are sums of ``books`` looked-up partial scores (PQTopK, RecSys 2024): the
    ``[items, dimensions]`` table never exists.

    Args:
        codes: uint8 ``[items, books]``.
        dimensions: width of the vectors, a multiple of the number of books.
        deviation: standard deviation of the normal distribution that the books start from.
    """

    def __init__(self, codes: np.ndarray | Tensor, dimensions: int, deviation: float) -> None:
        items, books = codes.shape
        if dimensions % books:
            raise ValueError(f"{books} code books do not divide {dimensions} dimensions evenly")
        super().__init__(items, dimensions)
        self.books = books
        self.register_buffer("codes", torch.as_tensor(codes).clone())
        self.register_buffer("offsets", torch.arange(books) * CODES_PER_BOOK, persistent=False)
        self.centroids = nn.Parameter(torch.empty(books, CODES_PER_BOOK, dimensions // books).normal_(std=deviation))

    def _rows(self, items: Tensor) -> Tensor:
        """Rows of the flattened books that items use: int64 ``[...]`` to int64 ``[..., books]``."""
        return self.codes[items].long() + self.offsets

    def forward(self, items: Tensor) -> Tensor:
        return F.embedding(self._rows(items), self.centroids.flatten(0, 1)).flatten(-2)

    def _partial_scores(self, states: Tensor) -> Tensor:
        """Scores of all centroids: ``[rows, dimensions]`` to ``[books * 256, rows]``."""
        split = states.view(len(states), self.books, -1)
        return torch.einsum("rbd,bcd->bcr", split, self.centroids).flatten(0, 1)

    def score_all(self, states: Tensor) -> Tensor:
        partial = self._partial_scores(states)
        chunks = []
        for start in range(0, self.items, _CANDIDATES_AT_ONCE):
            rows = self.codes[start : start + _CANDIDATES_AT_ONCE].long() + self.offsets
            # sums contiguous rows of partial scores, one for each book
            chunks.append(F.embedding_bag(rows, partial, mode="sum"))
        return torch.cat(chunks).T

    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        rows = self._rows(candidates).transpose(1, 2).flatten(1)
        looked_up = self._partial_scores(states).T.gather(1, rows)
        return looked_up.view(len(states), self.books, -1).sum(dim=1)
