"""All codes of an item at once, each independent of the others given the state (RPG, Hou et al., KDD 2025).

The score of an item is the sum of what its codes score, so the best items of the whole catalogue are found exactly with
the sums that quantised item vectors use (PQTopK), and no search through a graph of items is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.generating_model import CodePredictions

_START_DEVIATION = 0.02


class ParallelHead(nn.Module):
    """Logits of a book are cosines, ``cos(G_l h, v_c) / temperature``; ``G_l`` starts as the identity with noise.

    Args:
        codes: int32 ``[items, books]``.
        book_sizes: codes of each book.
        dimensions: width of states and vectors.
        temperature: of the softmax; .03 in the paper.
    """

    rows: Tensor

    def __init__(self, codes: Tensor, book_sizes: tuple[int, ...], dimensions: int, temperature: float) -> None:
        super().__init__()
        books = len(book_sizes)
        self.temperature = temperature
        self.book_sizes = book_sizes
        self.projections = nn.Parameter(
            torch.eye(dimensions).repeat(books, 1, 1)
            + torch.empty(books, dimensions, dimensions).normal_(std=_START_DEVIATION)
        )
        self.code_vectors = nn.ParameterList(torch.empty(size, dimensions).normal_() for size in book_sizes)
        offsets = torch.tensor([0, *book_sizes[:-1]]).cumsum(0)
        self.register_buffer("rows", codes.long() + offsets, persistent=False)

    def _logits(self, states: Tensor, book: int) -> Tensor:
        # divided here, since there are fewer dimensions than codes
        queries = F.normalize(states @ self.projections[book], dim=-1) / self.temperature
        return queries @ F.normalize(self.code_vectors[book], dim=-1).T

    def predictions(self, states: Tensor, codes: Tensor) -> list[CodePredictions]:
        """See :meth:`ml.models.generating_model.GeneratingModel.predictions`.

        Args:
            states: ``[targets, dimensions]``.
            codes: of the targets, int64 ``[targets, books]``.
        """
        return [
            CodePredictions(book, self._logits(states, book), codes[:, book]) for book in range(len(self.book_sizes))
        ]

    def score_all(self, states: Tensor) -> Tensor:
        """Sums of the log-probabilities of all items' codes: ``[rows, dimensions]`` to ``[rows, items]``."""
        books = range(len(self.book_sizes))
        partial = torch.cat([self._logits(states, book).log_softmax(dim=-1) for book in books], dim=1)
        return F.embedding_bag(self.rows, partial.T.contiguous(), mode="sum").T
