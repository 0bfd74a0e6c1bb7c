"""BSARec: self-attention beside a filter of low and high frequencies (Shin et al., AAAI 2024, arXiv 2312.10325)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import BSARecSettings
from ml.models.transformer import BERT_NORM_EPSILON, CausalAttention


class BSARec(ItemSequenceModel):
    """Histories to hidden states whose dot products with item vectors are scores.

    The Fourier transform is over a window of ``max_length`` places that ends with the last item, as where histories
    are padded on the left; the places before the first item hold zeros, in every block. (In public implementations
    the position vectors of the padding take part in the transform.) A low-pass filter depends on the distance of two
    places alone and zeros add nothing, so it is computed here on the items where they stand, as a product with a
    ``[length, length]`` matrix, which costs less than the transform over the window.

    With ``low_pass = "fourier"`` a state depends on all items of the window, later ones included: only the state of
    the last item may be trained, and :func:`ml.tasks.settings.check_task_of_model` refuses the task ``next_item``.
    With ``low_pass = "causal_mean"`` no state depends on a later item, and all can be trained at once.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    low_pass: Tensor | None

    def __init__(self, settings: BSARecSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.positions = nn.Parameter(
            torch.empty(self.max_length, settings.dimensions).normal_(std=settings.embedding_deviation)
        )
        self.norm = nn.LayerNorm(settings.dimensions, eps=BERT_NORM_EPSILON)
        self.dropout = Dropout(settings.dropout)
        low_pass = None
        if settings.alpha > 0:
            fourier = settings.low_pass == "fourier"
            low_pass = fourier_low_pass(self.max_length, settings.cutoff) if fourier else causal_mean(self.max_length)
        # not stored: it follows from the settings
        self.register_buffer("low_pass", low_pass, persistent=False)
        self.blocks = nn.ModuleList(BSARecBlock(settings) for _ in range(settings.blocks))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        hidden, real, low_pass = self._read(items, lengths)
        for block in self.blocks:
            hidden = block(hidden, hidden, real, low_pass, None)
        return hidden

    def states(
        self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor, times: Tensor | None = None
    ) -> Tensor:
        if len(positions) > len(items):
            return super().states(items, lengths, users, positions)
        # a state a history, as with the task every_prefix: the last block need not compute the others
        hidden, real, low_pass = self._read(items, lengths)
        for block in self.blocks[:-1]:
            hidden = block(hidden, hidden, real, low_pass, None)
        rows = torch.div(positions, items.shape[1], rounding_mode="floor")
        places = positions - rows * items.shape[1]
        visible = torch.arange(items.shape[1], device=items.device) <= places[:, None]
        inputs = hidden.flatten(0, 1).index_select(0, positions)[:, None]
        low_pass = None if low_pass is None else low_pass.index_select(0, places)[:, None]
        return self.blocks[-1](inputs, hidden.index_select(0, rows), real[rows], low_pass, visible)[:, 0]

    def _read(self, items: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs of the first block, which places are no padding, bool ``[batch, length, 1]``, and the low-pass."""
        length = items.shape[1]
        places = torch.arange(length, device=items.device) - lengths[:, None] + self.max_length
        real = (places < self.max_length)[..., None]
        hidden = self.input_embedding(items) + F.embedding(places.clamp(max=self.max_length - 1), self.positions)
        hidden = self.dropout(self.norm(hidden))
        return hidden, real, None if self.low_pass is None else self.low_pass[:length, :length]


class BSARecBlock(nn.Module):
    """``alpha * filtered + (1 - alpha) * attended``, then feed-forward layers, with residuals before each norm.

    With ``alpha = 0`` it is the post-norm block of a causal transformer, as ``nn.TransformerEncoderLayer`` is by
    default; a branch that has no share has no weights.
    """

    def __init__(self, settings: BSARecSettings) -> None:
        super().__init__()
        dimensions = settings.dimensions
        self.alpha = settings.alpha
        self.filter = FrequencyFilter(dimensions, settings.dropout) if self.alpha > 0 else None
        self.attention = (
            CausalAttention(dimensions, settings.heads, settings.attention_dropout, output_projection=True)
            if self.alpha < 1
            else None
        )
        self.attention_norm = nn.LayerNorm(dimensions, eps=BERT_NORM_EPSILON) if self.alpha < 1 else None
        self.widen = nn.Linear(dimensions, settings.feed_forward_dimensions)
        self.narrow = nn.Linear(settings.feed_forward_dimensions, dimensions)
        self.feed_forward_norm = nn.LayerNorm(dimensions, eps=BERT_NORM_EPSILON)
        self.dropout = Dropout(settings.dropout)

    def forward(
        self, inputs: Tensor, context: Tensor, real: Tensor, low_pass: Tensor | None, visible: Tensor | None
    ) -> Tensor:
        """One block, at all places or at some.

        Args:
            inputs: at the places that are asked for, ``[batch, places, dimensions]``.
            context: at all places, padded at the end, ``[batch, length, dimensions]``.
            real: which places are no padding, bool ``[batch, length, 1]``.
            low_pass: weights of all places at those that are asked for, ``[places, length]`` or
                ``[batch, places, length]``; needed unless ``alpha`` is 0.
            visible: which places are attended to, bool ``[batch, length]``; ``None`` shows each place itself and all
                earlier ones.

        Returns:
            ``[batch, places, dimensions]``.
        """
        mixed: Tensor | None = None
        if self.filter is not None and low_pass is not None:
            mixed = self.filter(inputs, low_pass @ (context * real))
        if self.attention is not None and self.attention_norm is not None:
            attended = self.attention.attend(inputs, context, visible)
            attended = self.attention_norm(inputs + self.dropout(attended))
            mixed = attended if mixed is None else self.alpha * mixed + (1 - self.alpha) * attended
        if mixed is None:
            raise ValueError("a block with a frequency filter needs a low-pass matrix")
        fed_forward = self.dropout(self.narrow(F.gelu(self.widen(mixed))))
        return self.feed_forward_norm(mixed + fed_forward)


class FrequencyFilter(nn.Module):
    """``norm(x + dropout(low + b ** 2 * (x - low)))``, where ``low`` is the low-pass of ``x`` over time and ``b`` a
    trained weight of each dimension."""

    def __init__(self, dimensions: int, dropout: float) -> None:
        super().__init__()
        self.high_weight_root = nn.Parameter(torch.randn(dimensions))
        self.norm = nn.LayerNorm(dimensions, eps=BERT_NORM_EPSILON)
        self.dropout = Dropout(dropout)

    def forward(self, inputs: Tensor, low: Tensor) -> Tensor:
        """Inputs and their low-pass, both ``[..., dimensions]``, to the same."""
        filtered = low + self.high_weight_root.square() * (inputs - low)
        return self.norm(inputs + self.dropout(filtered))


def fourier_low_pass(length: int, cutoff: int) -> Tensor:
    """The matrix of the low-pass that keeps the ``cutoff`` lowest components of a discrete Fourier transform.

    The components are the mean and ``cutoff // 2`` pairs of conjugates, of the frequencies
    ``1 / length, 2 / length, ...``. Row ``t`` holds the weights of all places in the output at ``t``, which depend on
    their distance from ``t`` alone.

    Args:
        length: of the transform.
        cutoff: odd, from 1 to ``length``.

    Returns:
        float32 ``[length, length]``, symmetric.
    """
    places = torch.arange(length, dtype=torch.float64)
    frequencies = torch.arange(1, cutoff // 2 + 1, dtype=torch.float64)
    # conjugates add up to twice the real part
    response = (1 + 2 * torch.cos(2 * torch.pi / length * frequencies[:, None] * places).sum(dim=0)) / length
    distances = (torch.arange(length)[:, None] - torch.arange(length)).abs()
    return response[distances].float()


def causal_mean(length: int) -> Tensor:
    """The matrix of the mean over a place and all earlier ones, float32 ``[length, length]``."""
    return torch.ones(length, length).tril() / torch.arange(1, length + 1)[:, None]
