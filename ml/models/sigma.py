"""SIGMA: a state space that reads a history twice, once with its older part reversed (Liu et al., AAAI 2025).

Source: Liu et al., "SIGMA: Selective Gated Mamba for Sequential Recommendation", arXiv 2408.11451, and the authors'
code. Differences from it: the layer is that of Mamba-2 (:class:`~ml.models.mamba.StateSpaceLayer`); blocks are
pre-norm; the convolution before the GRU reads earlier items only, so that padding changes no state; how many items
are reversed follows the length of each history; and the gate of the reversed order reads that order alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.mamba import StateSpaceLayer
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import SIGMASettings
from ml.models.transformer import FeedForward

# of the GRU, the reversed order and the order as it is, as in the authors' code
_FIRST_WEIGHTS = (0.1, 0.1, 0.8)
_CONVOLUTION_WIDTH = 3


def partially_flipped(lengths: Tensor, length: int, unflipped: int) -> Tensor:
    """Places in which each history is read when all but its latest items are reversed.

    Args:
        lengths: items of each history, int64 ``[batch]``.
        length: places of the batch, padding included.
        unflipped: latest items of each history that keep their places; of shorter histories, all.

    Returns:
        int64 ``[batch, length]``; padding keeps its place.
    """
    places = torch.arange(length, device=lengths.device)
    flipped = lengths[:, None] - unflipped
    return torch.where(places < flipped, flipped - 1 - places, places)


class DenseSelectiveGate(nn.Module):
    """``x * (1 + G)`` where ``G = silu(z) A + sigmoid(z) B`` and ``z = c + c C`` of the inputs ``c`` of a layer."""

    def __init__(self, dimensions: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(dimensions, dimensions)
        self.smooth = nn.Linear(dimensions, dimensions)
        self.bounded = nn.Linear(dimensions, dimensions, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Outputs and inputs of a layer, both ``[..., dimensions]``, to the gated outputs."""
        dense = inputs + self.dense(inputs)
        gate = self.smooth(F.silu(dense)) + self.bounded(dense.sigmoid())
        return outputs * (1 + self.dropout(gate))


class GatedMambaLayer(nn.Module):
    """A weighted sum of the state space over a history, of the same over the partially reversed history, and of a GRU.

    Args:
        settings: sizes.
    """

    def __init__(self, settings: SIGMASettings) -> None:
        super().__init__()
        dimensions = settings.dimensions
        # reads both orders with the same weights, as published
        self.state_space = StateSpaceLayer(settings)
        self.gate = DenseSelectiveGate(dimensions, settings.dropout)
        self.flipped_gate = DenseSelectiveGate(dimensions, settings.dropout)
        self.convolution = nn.Conv1d(dimensions, dimensions, _CONVOLUTION_WIDTH)
        self.units = nn.GRU(dimensions, dimensions, bias=False, batch_first=True)
        self.weights = nn.Parameter(torch.tensor(_FIRST_WEIGHTS))
        self.output = nn.Linear(dimensions, dimensions)

    def forward(self, inputs: Tensor, order: Tensor | None) -> Tensor:
        """``[batch, length, dimensions]`` to the same.

        Args:
            inputs: of the layer.
            order: the partially reversed order, int64 ``[batch, length]``; ``None`` where no history has an item that
                is reversed, so that both orders are one.
        """
        if order is None:
            flipped = inputs
            outputs = flipped_outputs = self.state_space(inputs)
        else:
            flipped = inputs.gather(1, order[..., None].expand_as(inputs))
            # outputs of the reversed order are added where they stand, as published: at the latest items both agree
            outputs, flipped_outputs = self.state_space(torch.cat([inputs, flipped])).chunk(2)
        recent = self.convolution(F.pad(inputs.transpose(1, 2), (_CONVOLUTION_WIDTH - 1, 0))).transpose(1, 2)
        short_term, _ = self.units(recent)
        mixed = (
            self.weights[0] * short_term
            + self.weights[1] * self.flipped_gate(flipped_outputs, flipped)
            + self.weights[2] * self.gate(outputs, inputs)
        )
        return self.output(mixed)


class SIGMABlock(nn.Module):
    """Pre-norm: a gated layer and feed-forward layers, each added to its input."""

    def __init__(self, settings: SIGMASettings) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(settings.dimensions)
        self.layer = GatedMambaLayer(settings)
        self.dropout = Dropout(settings.dropout)
        self.feed_forward_norm = nn.LayerNorm(settings.dimensions)
        self.feed_forward = FeedForward(settings.dimensions, settings.feed_forward_dimensions, settings.dropout)

    def forward(self, inputs: Tensor, order: Tensor | None) -> Tensor:
        """``[batch, length, dimensions]`` to the same; ``order`` as in :class:`GatedMambaLayer`."""
        inputs = inputs + self.dropout(self.layer(self.layer_norm(inputs), order))
        return inputs + self.feed_forward(self.feed_forward_norm(inputs))


class SIGMA(ItemSequenceModel):
    """Histories to hidden states whose dot products with item vectors are scores.

    Which items are reversed depends on where the history ends, so a state depends on later items of its window: only
    the state of the last item may be trained, by the task ``every_prefix``, and
    :func:`ml.tasks.settings.check_task_of_model` refuses the task ``next_item``.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: SIGMASettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.unflipped = settings.unflipped
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(SIGMABlock(settings) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.dimensions)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        hidden = self.dropout(self.input_embedding(items))
        length = items.shape[1]
        order = partially_flipped(lengths, length, self.unflipped) if length > self.unflipped else None
        for block in self.blocks:
            hidden = block(hidden, order)
        return self.norm(hidden)
