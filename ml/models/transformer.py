"""Causal transformer blocks: the one SASRec was published with, and today's standard one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class CausalAttention(nn.Module):
    """Multi-head scaled dot-product attention that sees no later position (Vaswani et al., 2017, section 3.2).

    Sequences are padded at their end, so that the causal mask alone keeps padding away from real positions.
    """

    def __init__(self, dimensions: int, heads: int, dropout: float, output_projection: bool) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(dimensions, dimensions)
        self.key_value = nn.Linear(dimensions, 2 * dimensions)
        self.output = nn.Linear(dimensions, dimensions) if output_projection else nn.Identity()

    def forward(self, queries: Tensor, inputs: Tensor) -> Tensor:
        """Attend from ``queries`` to ``inputs``, both ``[batch, length, dimensions]``."""
        batch, length, dimensions = inputs.shape
        split = (batch, length, self.heads, dimensions // self.heads)
        keys, values = self.key_value(inputs).chunk(2, dim=-1)
        mixed = F.scaled_dot_product_attention(
            self.query(queries).view(split).transpose(1, 2),
            keys.view(split).transpose(1, 2),
            values.view(split).transpose(1, 2),
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=True,
        )
        return self.output(mixed.transpose(1, 2).reshape(batch, length, dimensions))


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, dropout after each, ``[..., dimensions]`` to the same."""

    def __init__(self, dimensions: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.widen = nn.Linear(dimensions, inner)
        self.narrow = nn.Linear(inner, dimensions)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.dropout(F.relu(self.widen(inputs)))))


class SASRecBlock(nn.Module):
    """The block of SASRec and gSASRec, as their authors run it.

    Queries come from the normalised input, keys and values from the input as it is; what attention returns is
    added to the normalised input, and what the feed-forward layers return to its normalised sum.
    """

    def __init__(self, dimensions: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dimensions)
        self.attention = CausalAttention(dimensions, heads, dropout, output_projection=False)
        self.feed_forward_norm = nn.LayerNorm(dimensions)
        self.feed_forward = FeedForward(dimensions, inner, dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, length, dimensions]`` to the same."""
        queries = self.attention_norm(inputs)
        attended = self.feed_forward_norm(queries + self.attention(queries, inputs))
        return attended + self.feed_forward(attended)


class PreNormBlock(nn.Module):
    """The standard pre-norm block (Xiong et al., ICML 2020); equals ``nn.TransformerEncoderLayer`` with
    ``norm_first=True`` and a causal mask."""

    def __init__(self, dimensions: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dimensions)
        self.attention = CausalAttention(dimensions, heads, dropout, output_projection=True)
        self.attention_dropout = nn.Dropout(dropout)
        self.feed_forward_norm = nn.LayerNorm(dimensions)
        self.feed_forward = FeedForward(dimensions, inner, dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, length, dimensions]`` to the same."""
        normalised = self.attention_norm(inputs)
        inputs = inputs + self.attention_dropout(self.attention(normalised, normalised))
        return inputs + self.feed_forward(self.feed_forward_norm(inputs))


BLOCKS: dict[str, type[nn.Module]] = {"sasrec": SASRecBlock, "pre_norm": PreNormBlock}
