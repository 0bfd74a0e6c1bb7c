"""Mamba: a selective state space over the items of a history.

Sources: Gu and Dao, "Mamba", 2023; Dao and Gu, "Transformers are SSMs", ICML 2024, for the layer; Liu et al.,
"Mamba4Rec", arXiv 2403.03900, for the blocks. Unlike Mamba4Rec's, the blocks are pre-norm, as those of the plain recipe
that it is compared with.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import MambaSettings
from ml.models.state_space import in_chunks
from ml.models.transformer import FeedForward

# step sizes are drawn between these, as published
_LEAST_STEP, _MOST_STEP = 1e-3, 1e-1


class StateSpaceLayer(nn.Module):
    """The layer of Mamba-2, ``[batch, length, dimensions]`` to the same; no output depends on a later input.

    A linear layer gives each item a gate, an input to the state space, what is written, what is read, and a step size.
    A causal convolution mixes inputs, writes and reads of the latest items. A large step size takes an item in and lets
    the state fade, a small one passes it over.

    Args:
        settings: sizes.
    """

    def __init__(self, settings: MambaSettings) -> None:
        super().__init__()
        self.width = settings.expansion * settings.dimensions
        self.state = settings.state_dimensions
        self.heads = self.width // settings.head_dimensions
        self.chunk = settings.chunk
        mixed = self.width + 2 * self.state
        self.inputs = nn.Linear(settings.dimensions, self.width + mixed + self.heads, bias=False)
        self.convolution = nn.Conv1d(mixed, mixed, settings.convolution_width, groups=mixed)
        low, high = math.log(_LEAST_STEP), math.log(_MOST_STEP)
        steps = torch.empty(self.heads).uniform_(low, high).exp()
        # the inverse of softplus
        self.step_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))
        self.log_rate = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log())
        self.direct = nn.Parameter(torch.ones(self.heads))
        self.norm = nn.RMSNorm(self.width, eps=1e-5)
        self.output = nn.Linear(self.width, settings.dimensions, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        projected = self.inputs(inputs)
        if self.training and inputs.shape[1] > self.chunk:
            # most of the memory of a long history is what lies between the two projections: it is computed again for
            # the gradients
            mixed = checkpoint(self.mix, projected, use_reentrant=False, preserve_rng_state=False)
        else:
            mixed = self.mix(projected)
        return self.output(mixed)

    def mix(self, projected: Tensor) -> Tensor:
        """What the layer makes of its first projection, ``[batch, length, width of all parts]`` to
        ``[batch, length, width]``."""
        gate, mixed, steps = projected.split([self.width, self.width + 2 * self.state, self.heads], dim=-1)
        reach = self.convolution.kernel_size[0] - 1
        mixed = F.silu(self.convolution(F.pad(mixed.transpose(1, 2), (reach, 0))).transpose(1, 2))
        values, write, read = mixed.split([self.width, self.state, self.state], dim=-1)
        values = values.unflatten(-1, (self.heads, -1))
        steps = F.softplus(steps + self.step_bias)
        mixed = in_chunks(values * steps[..., None], -steps * self.log_rate.exp(), write, read, self.chunk)
        mixed = mixed + values * self.direct[:, None]
        return self.norm(mixed.flatten(2) * F.silu(gate))


class MambaBlock(nn.Module):
    """Pre-norm: a state-space layer and feed-forward layers, each added to its input."""

    def __init__(self, settings: MambaSettings) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(settings.dimensions)
        self.layer = StateSpaceLayer(settings)
        self.dropout = Dropout(settings.dropout)
        self.feed_forward_norm = nn.LayerNorm(settings.dimensions)
        self.feed_forward = FeedForward(settings.dimensions, settings.feed_forward_dimensions, settings.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, length, dimensions]`` to the same."""
        inputs = inputs + self.dropout(self.layer(self.layer_norm(inputs)))
        return inputs + self.feed_forward(self.feed_forward_norm(inputs))


class Mamba(ItemSequenceModel):
    """Histories to hidden states, one a position, whose dot products with item vectors are scores.

    There are no position vectors: a state space knows what came before what. Padding stands at the end, where no state
    that is read can have passed it.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: MambaSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(MambaBlock(settings) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.dimensions)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        hidden = self.dropout(self.input_embedding(items))
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden)
