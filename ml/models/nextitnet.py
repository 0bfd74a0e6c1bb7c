"""NextItNet: causal convolutions with holes over a history (Yuan et al., WSDM 2019)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import NextItNetSettings


class CausalConvolution(nn.Module):
    """A dilated convolution over positions that reads no later one, ``[batch, length, dimensions]`` to the same.

    Args:
        dimensions: channels, in and out.
        width: positions that a filter reads.
        dilation: distance between two of them.
    """

    def __init__(self, dimensions: int, width: int, dilation: int) -> None:
        super().__init__()
        self.reach = (width - 1) * dilation
        self.filters = nn.Conv1d(dimensions, dimensions, width, dilation=dilation)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.filters(F.pad(inputs.transpose(1, 2), (self.reach, 0))).transpose(1, 2)


class ResidualBlock(nn.Module):
    """Two convolutions, the second with twice the dilation, each with a layer norm and a ReLU, added to the input:
    block (b) of figure 3 of the paper.

    Args:
        dimensions: width of inputs and outputs.
        width: positions that a filter reads.
        dilation: of the first convolution.
        dropout: share of what is added that is dropped while training; none in the paper.
    """

    def __init__(self, dimensions: int, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(CausalConvolution(dimensions, width, d) for d in (dilation, 2 * dilation))
        self.norms = nn.ModuleList(nn.LayerNorm(dimensions) for _ in range(2))
        self.dropout = Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = F.relu(norm(convolution(hidden)))
        return inputs + self.dropout(hidden)


class NextItNet(ItemSequenceModel):
    """Item vectors through residual blocks of dilated convolutions; what the last one returns is the state.

    With filters of width 3 and blocks of dilation 1 and 4 a state reads 31 items. Positions before the first item are
    zeros, and padding stands at the end, where no state that is read can reach it.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: NextItNetSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            ResidualBlock(settings.dimensions, settings.filter_width, dilation, settings.dropout)
            for dilation in settings.dilations
        )

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        hidden = self.dropout(self.input_embedding(items))
        for block in self.blocks:
            hidden = block(hidden)
        return hidden
