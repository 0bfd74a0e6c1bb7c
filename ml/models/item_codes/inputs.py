"""Vectors of the items that are read: the sum of the vectors of their codes, one of their own, or both."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.belonging import OF_ITEMS


class CodeInputs(nn.Module):
    """Item vectors from codes: ``sqrt(dimensions) * (levels ** -0.5 * sum_l vectors_l[code_l] + vector_of_item)``.

    The factor is that of Vaswani et al. (2017, section 3.4): with Adam it lets vectors move as many times faster than
    the other weights. Each level has vectors of its own, so that equal codes of different levels are unrelated. The
    vector of an item beside those of its codes lets items with like codes differ, as in H2Rec (arXiv 2512.10388).

    Args:
        codes: ``[items, levels]``.
        book_sizes: codes of each level.
        reads: ``codes``, ``items`` or ``codes_and_items``.
        dimensions: width of the vectors.
        deviation: standard deviation of the normal distribution that they start from.
    """

    belongs: ClassVar[dict[str, str]] = {"of_items": OF_ITEMS}
    rows: Tensor

    def __init__(
        self,
        codes: np.ndarray,
        book_sizes: tuple[int, ...],
        reads: Literal["codes", "items", "codes_and_items"],
        dimensions: int,
        deviation: float,
    ) -> None:
        super().__init__()
        items, levels = codes.shape
        offsets = np.concatenate([[0], np.cumsum(book_sizes)])
        self.register_buffer("rows", torch.from_numpy(codes.astype(np.int64) + offsets[:-1]), persistent=False)
        self.scale_of_codes = (dimensions / levels) ** 0.5
        self.scale_of_items = dimensions**0.5
        self.of_codes = self._table(int(offsets[-1]), dimensions, deviation) if "codes" in reads else None
        self.of_items = self._table(items, dimensions, deviation) if "items" in reads else None

    @staticmethod
    def _table(rows: int, dimensions: int, deviation: float) -> nn.Parameter:
        return nn.Parameter(torch.empty(rows, dimensions).normal_(std=deviation))

    def all_items(self) -> Tensor:
        """The vectors of all items without the factor ``sqrt(dimensions)``, ``[items, dimensions]``."""
        every = torch.arange(len(self.rows), device=self.rows.device)
        return self(every) / self.scale_of_items

    def forward(self, items: Tensor) -> Tensor:
        """int64 ``[...]`` to ``[..., dimensions]``."""
        parts = []
        if self.of_codes is not None:
            flat = F.embedding_bag(self.rows[items.flatten()], self.of_codes, mode="sum")
            parts.append(flat.view(*items.shape, -1) * self.scale_of_codes)
        if self.of_items is not None:
            parts.append(F.embedding(items, self.of_items) * self.scale_of_items)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]
