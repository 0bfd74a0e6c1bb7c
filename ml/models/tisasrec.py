"""TiSASRec: self-attention that reads the intervals between items (Li, Wang and McAuley, "Time Interval Aware
Self-Attention for Sequential Recommendation", WSDM 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout, dropout
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import TiSASRecSettings
from ml.models.timed_sasrec import by_index, causal_weights
from ml.models.transformer import CausalAttention, PreNormBlock


class TiSASRec(ItemSequenceModel):
    """Histories and their times to hidden states whose dot products with item vectors are scores.

    The interval between two items is the time between them in units of the user's shortest gap, rounded down and
    clipped. It has an embedding that is added to the key, and one that is added to the value; so has the position of
    the item (section 3.4 of the paper). All blocks share them.

    Two differences from the paper. The shortest gap is that of the items up to the one whose state it is, rather than
    of the whole history, so that no state depends on a later time; it is the same for the last item. And the blocks are
    the pre-norm ones of the plain recipe.

    Items of a history without times count as if they followed each other at equal gaps.

    Args:
        settings: sizes and the longest interval.
        catalogue: what there are vectors for.
    """

    reads_times = True

    def __init__(self, settings: TiSASRecSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.longest_interval = settings.longest_interval

        def table(rows: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(rows, settings.dimensions).normal_(std=settings.embedding_deviation))

        self.key_positions, self.value_positions = table(self.max_length), table(self.max_length)
        self.key_intervals, self.value_intervals = (table(settings.longest_interval + 1) for _ in range(2))
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(TiSASRecBlock(settings) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.dimensions)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor, times: Tensor | None = None) -> Tensor:
        column = torch.arange(items.shape[1], device=items.device)
        places = (column - lengths[:, None] + self.max_length).clamp_(max=self.max_length - 1)
        distances = Distances(
            intervals(column.expand_as(items) if times is None else times, self.longest_interval),
            self.key_intervals,
            self.value_intervals,
            self.dropout(F.embedding(places, self.key_positions)),
            self.dropout(F.embedding(places, self.value_positions)),
        )
        hidden = self.dropout(self.input_embedding(items))
        for block in self.blocks:
            hidden = block(hidden, distances)
        return self.norm(hidden)


@dataclass(frozen=True)
class Distances:
    """What attention knows of the places and times of items.

    Attributes:
        intervals: between each item and all items, int64 ``[batch, length, length]``: see :func:`intervals`.
        key_intervals: embedding of each interval, ``[intervals, dimensions]``, added to keys.
        value_intervals: the same for values.
        key_positions: embedding of the position of each item, ``[batch, length, dimensions]``, added to its key.
        value_positions: the same for values.
    """

    intervals: Tensor
    key_intervals: Tensor
    value_intervals: Tensor
    key_positions: Tensor
    value_positions: Tensor


def intervals(times: Tensor, longest: int) -> Tensor:
    """Time from each item to each later one, in units of the shortest gap above 0 between neighbours among the items up
    to the later one; rounded down, at most ``longest``.

    Args:
        times: seconds, int64 ``[batch, length]``.
        longest: at which intervals are clipped.

    Returns:
        int64 ``[batch, length, length]``, later item first; 0 for an item and one that follows it.
    """
    gaps = (times[:, :, None] - times[:, None, :]).clamp_(min=0)
    beyond = torch.iinfo(torch.int64).max
    steps = F.pad(times.diff(dim=1), (1, 0))
    shortest = steps.masked_fill(steps <= 0, beyond).cummin(dim=1).values
    return torch.div(gaps, shortest[:, :, None], rounding_mode="floor").clamp_(max=longest)


class TiSASRecBlock(PreNormBlock):
    """The pre-norm block with attention that reads intervals."""

    def __init__(self, settings: TiSASRecSettings) -> None:
        sizes = (settings.dimensions, settings.heads)
        super().__init__(*sizes, settings.feed_forward_dimensions, settings.dropout)
        self.attention = IntervalAttention(*sizes, settings.dropout, output_projection=True)


class IntervalAttention(CausalAttention):
    """Causal attention to items, their positions and their intervals (equations 6 to 8 of the paper).

    A vector for each pair of places, ``[batch, length, length, dimensions]``, is never made: the product of a query
    with all interval embeddings is taken once and looked up, and the weights of the items at the same interval are
    added up before they are multiplied with its embedding.
    """

    def forward(self, queries: Tensor, inputs: Tensor, distances: Distances | None = None) -> Tensor:
        """Attend from ``queries`` to ``inputs``, both ``[batch, length, dimensions]``; without distances to the items
        alone."""
        if distances is None:
            return super().forward(queries, inputs)
        keys, values = self.key_value(inputs).chunk(2, dim=-1)
        keys, values = self.split(keys + distances.key_positions), self.split(values + distances.value_positions)
        query = self.split(self.query(queries))
        scale = query.shape[-1] ** -0.5
        by_interval = (query * scale) @ self._of_heads(distances.key_intervals).transpose(-2, -1)
        weights = causal_weights(query, keys, by_index(by_interval, distances.intervals))
        weights = dropout(weights, self.dropout, training=self.training)
        index = distances.intervals[:, None].expand_as(weights)
        of_intervals = torch.zeros_like(by_interval).scatter_add(3, index, weights)
        return self.joined(weights @ values + of_intervals @ self._of_heads(distances.value_intervals))

    def _of_heads(self, table: Tensor) -> Tensor:
        """``[intervals, dimensions]`` to ``[heads, intervals, dimensions of a head]``."""
        return table.view(len(table), self.heads, -1).transpose(0, 1)
