"""A trained vector for each user of the training set."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.belonging import OF_USERS
from ml.models.row_table import RowTable


class UserVectors(nn.Module, RowTable):
    """User indices to vectors; zeros for a user who is not known (-1), whose scores come from the rest of the model.

    Args:
        users: of the training set.
        dimensions: width of the vectors.
        deviation: standard deviation of the normal distribution that they start from.
    """

    belongs: ClassVar[dict[str, str]] = {"weight": OF_USERS}

    def __init__(self, users: int, dimensions: int, deviation: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(users, dimensions).normal_(std=deviation))

    def forward(self, users: Tensor) -> Tensor:
        """int64 ``[batch]``, -1 where it is not known, to ``[batch, dimensions]``."""
        if len(self.weight) == 0:
            return self.weight.new_zeros(len(users), self.weight.shape[1])
        table, rows = self.table_for(users.clamp(min=0))
        return F.embedding(rows, table) * (users >= 0)[:, None]
