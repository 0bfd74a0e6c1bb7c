"""HSTU: pointwise attention with a gate (Zhai et al., "Actions Speak Louder than Words", ICML 2024, arXiv 2402.17152).

What is here is the layer for sequences of items (section 3.2); the bias by time and actions beside items are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import HSTUSettings


class HSTUBlock(nn.Module):
    """``x + f2(norm(A V) * U)`` with ``U, V, Q, K = silu(f1(norm(x)))`` and ``A = silu(Q K' + bias) / max_length``.

    The weights of attention are not normalised: how many items are like the query counts, not only which.

    Args:
        settings: sizes.
        max_length: longest history.
    """

    def __init__(self, settings: HSTUSettings, max_length: int) -> None:
        super().__init__()
        dimensions = settings.dimensions
        self.heads = settings.heads
        self.max_length = max_length
        self.norm = nn.LayerNorm(dimensions)
        self.inputs = nn.Linear(dimensions, 4 * dimensions)
        # of the distance between two places, the same for all heads
        self.bias = nn.Parameter(torch.empty(max_length).normal_(std=0.02))
        self.mixed_norm = nn.LayerNorm(dimensions)
        self.dropout = Dropout(settings.dropout)
        self.output = nn.Linear(dimensions, dimensions)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, length, dimensions]`` to the same; no output depends on a later input."""
        length = inputs.shape[1]
        gate, *others = F.silu(self.inputs(self.norm(inputs))).chunk(4, dim=-1)
        values, queries, keys = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in others)
        places = torch.arange(length, device=inputs.device)
        distance = places[:, None] - places
        scores = queries @ keys.transpose(-2, -1) + self.bias[distance.clamp(0, self.max_length - 1)]
        weights = F.silu(scores).masked_fill(distance < 0, 0.0) / self.max_length
        mixed = (weights @ values).transpose(1, 2).flatten(2)
        return inputs + self.output(self.dropout(self.mixed_norm(mixed) * gate))


class HSTU(ItemSequenceModel):
    """Histories to hidden states, one a position, whose dot products with item vectors are scores.

    Positions are counted from the end of the history, as in SASRec here. A layer norm follows the last block.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: HSTUSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.positions = nn.Parameter(
            torch.empty(self.max_length, settings.dimensions).normal_(std=settings.embedding_deviation)
        )
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(HSTUBlock(settings, self.max_length) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.dimensions)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        places = torch.arange(items.shape[1], device=items.device) - lengths[:, None] + self.max_length
        hidden = self.input_embedding(items) + F.embedding(places.clamp_(max=self.max_length - 1), self.positions)
        hidden = self.dropout(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden)
