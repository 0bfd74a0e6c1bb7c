"""Transformer blocks: the one SASRec was published with, and those of GPT-2, LiGR, BERT and DeBERTa."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.dropout import Dropout, dropout

# as published; torch and GPT-2 have 1e-5
BERT_NORM_EPSILON = 1e-12


class _Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al., 2017, section 3.2)."""

    def __init__(self, dimensions: int, heads: int, dropout: float, output_projection: bool) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(dimensions, dimensions)
        self.key_value = nn.Linear(dimensions, 2 * dimensions)
        self.output = nn.Linear(dimensions, dimensions) if output_projection else nn.Identity()

    def attend(self, queries: Tensor, inputs: Tensor, visible: Tensor | None) -> Tensor:
        """Attend from ``queries``, ``[batch, places, dimensions]``, to ``inputs``, ``[batch, length, dimensions]``.

        Args:
            queries: at the same places as the inputs; at any where ``visible`` is given.
            inputs: attended to.
            visible: which inputs are seen, bool ``[batch, length]``; ``None`` shows each place itself and all
                earlier ones.
        """
        keys, values = self.keys_and_values(inputs)
        return self.mix(self.split(self.query(queries)), keys, values, visible)

    def split(self, vectors: Tensor) -> Tensor:
        """Vectors of all heads, ``[batch, length, dimensions]``, to ``[batch, heads, length, dimensions / heads]``."""
        batch, length, dimensions = vectors.shape
        return vectors.view(batch, length, self.heads, dimensions // self.heads).transpose(1, 2)

    def keys_and_values(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What is attended to: of ``[batch, length, dimensions]``, each as :meth:`split` returns it."""
        keys, values = self.key_value(inputs).chunk(2, dim=-1)
        return self.split(keys), self.split(values)

    def mix(self, queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
        """Attend from queries to keys and values, all as :meth:`split` returns them; ``visible`` as in :meth:`attend`,
        or for each query, bool ``[batch, queries, length]``.

        Returns:
            ``[batch, length, dimensions]``.
        """
        seen = None if visible is None else visible[:, None] if visible.dim() == 3 else visible[:, None, None, :]
        rate = self.dropout if self.training else 0.0
        if rate and queries.device.type == "cpu":
            mixed = _attention_with_dropout(queries, keys, values, seen, rate)
        else:
            mixed = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=seen, dropout_p=rate, is_causal=seen is None
            )
        return self.joined(mixed)

    def joined(self, mixed: Tensor) -> Tensor:
        """The output for what heads return: ``[batch, heads, length, dimensions / heads]`` to
        ``[batch, length, dimensions]``."""
        return self.output(mixed.transpose(1, 2).flatten(2))


def _attention_with_dropout(queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None, rate: float) -> Tensor:
    """``F.scaled_dot_product_attention`` where it would spend most of its time on random numbers.

    Args:
        queries: ``[batch, heads, length, dimensions of a head]``, as are keys and values.
        keys: what scores are with.
        values: what is mixed.
        seen: bool, broadcast to ``[batch, heads, length, length]``; ``None`` shows each place itself and all earlier.
        rate: of dropout.
    """
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
    if seen is None:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    weights = scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)
    return dropout(weights, rate, training=True) @ values


class CausalAttention(_Attention):
    """Attention that sees no later position.

    Sequences are padded at their end, so that the causal mask alone keeps padding away from real positions.
    """

    def forward(self, queries: Tensor, inputs: Tensor) -> Tensor:
        """Attend from ``queries`` to ``inputs``, both ``[batch, length, dimensions]``."""
        return self.attend(queries, inputs, None)


class BidirectionalAttention(_Attention):
    """Attention that sees all positions but padding."""

    def forward(self, inputs: Tensor, visible: Tensor) -> Tensor:
        """``[batch, length, dimensions]`` to the same; ``visible`` says what is no padding, bool
        ``[batch, length]``."""
        return self.attend(inputs, inputs, visible)


def _gelu_of_gpt2(inputs: Tensor) -> Tensor:
    return F.gelu(inputs, approximate="tanh")


class FeedForward(nn.Module):
    """Two linear layers with an activation between, dropout after each, ``[..., dimensions]`` to the same."""

    def __init__(
        self, dimensions: int, inner: int, dropout: float, activation: Callable[[Tensor], Tensor] = F.relu
    ) -> None:
        super().__init__()
        self.widen = nn.Linear(dimensions, inner)
        self.narrow = nn.Linear(inner, dimensions)
        self.dropout = Dropout(dropout)
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.dropout(self.activation(self.widen(inputs)))))


class GatedFeedForward(nn.Module):
    """SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020): ``(silu(x A) * x B) C`` without biases, dropout
    before and after ``C``, ``[..., dimensions]`` to the same."""

    def __init__(self, dimensions: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.gate = nn.Linear(dimensions, inner, bias=False)
        self.widen = nn.Linear(dimensions, inner, bias=False)
        self.narrow = nn.Linear(inner, dimensions, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.dropout(F.silu(self.gate(inputs)) * self.widen(inputs))))


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

    activation: Callable[[Tensor], Tensor] = staticmethod(F.relu)

    def __init__(self, dimensions: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dimensions)
        self.attention = CausalAttention(dimensions, heads, dropout, output_projection=True)
        self.attention_dropout = Dropout(dropout)
        self.feed_forward_norm = nn.LayerNorm(dimensions)
        self.feed_forward = FeedForward(dimensions, inner, dropout, self.activation)

    def forward(self, inputs: Tensor, *related: Any) -> Tensor:
        """``[batch, length, dimensions]`` to the same; ``related`` is handed to attention of other kinds, which read
        more than the inputs."""
        normalised = self.attention_norm(inputs)
        inputs = inputs + self.attention_dropout(self.attention(normalised, normalised, *related))
        return inputs + self.feed_forward(self.feed_forward_norm(inputs))


class GPT2Block(PreNormBlock):
    """The pre-norm block of GPT-2 (Radford et al., 2019): its GELU is the approximation by a tanh."""

    activation = staticmethod(_gelu_of_gpt2)


class LiGRBlock(nn.Module):
    """Pre-norm with gated residuals: ``x + sigmoid(x W + b) * layer(norm(x))``, for attention and for SwiGLU
    feed-forward layers.

    Sources: Borisyuk et al., "From Features to Transformers: Redefining Ranking for Scalable Impact",
    arXiv 2502.03417, for the gates; Tikhonovich et al., "eSASRec: Enhancing Transformer-based Recommendations in a
    Modular Fashion", RecSys 2025, arXiv 2508.06450, for the block as it is used here.
    """

    def __init__(self, dimensions: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dimensions)
        self.attention = CausalAttention(dimensions, heads, dropout, output_projection=True)
        self.attention_dropout = Dropout(dropout)
        self.attention_gate = nn.Linear(dimensions, dimensions)
        self.feed_forward_norm = nn.LayerNorm(dimensions)
        self.feed_forward = GatedFeedForward(dimensions, inner, dropout)
        self.feed_forward_gate = nn.Linear(dimensions, dimensions)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, length, dimensions]`` to the same."""
        normalised = self.attention_norm(inputs)
        attended = self.attention_dropout(self.attention(normalised, normalised))
        inputs = inputs + self.attention_gate(inputs).sigmoid() * attended
        fed_forward = self.feed_forward(self.feed_forward_norm(inputs))
        return inputs + self.feed_forward_gate(inputs).sigmoid() * fed_forward


class BERTBlock(nn.Module):
    """The post-norm bidirectional block of BERT (Devlin et al., 2019): residuals first, then the norm; exact GELU."""

    def __init__(self, dimensions: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention: BidirectionalAttention | DisentangledAttention = BidirectionalAttention(
            dimensions, heads, dropout, output_projection=True
        )
        self.attention_dropout = Dropout(dropout)
        self.attention_norm = nn.LayerNorm(dimensions, eps=BERT_NORM_EPSILON)
        self.widen = nn.Linear(dimensions, inner)
        self.narrow = nn.Linear(inner, dimensions)
        self.feed_forward_dropout = Dropout(dropout)
        self.feed_forward_norm = nn.LayerNorm(dimensions, eps=BERT_NORM_EPSILON)

    def forward(self, inputs: Tensor, visible: Tensor, *related: Any) -> Tensor:
        """``[batch, length, dimensions]`` to the same; ``visible`` says what is no padding, bool
        ``[batch, length]``. ``related`` is handed to attention of other kinds, which read more than the inputs."""
        attended = self.attention_dropout(self.attention(inputs, visible, *related))
        inputs = self.attention_norm(inputs + attended)
        fed_forward = self.feed_forward_dropout(self.narrow(F.gelu(self.widen(inputs))))
        return self.feed_forward_norm(inputs + fed_forward)


class DisentangledAttention(nn.Module):
    """Attention to contents and to relative positions (He et al., "DeBERTa: Decoding-enhanced BERT with Disentangled
    Attention", ICLR 2021, section 3.1).

    The score of place ``i`` for place ``j`` is ``(q_i k_j + q_i kr_d + k_j qr_d) / sqrt(3 * dimensions of a head)``,
    where ``d = i - j`` and ``kr`` and ``qr`` are projections of vectors of distances. Both terms of positions read the
    same distance, as in the code of the authors. Keys have no bias: it would not cancel in the last term.
    """

    def __init__(self, dimensions: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(dimensions, dimensions)
        self.key = nn.Linear(dimensions, dimensions, bias=False)
        self.value = nn.Linear(dimensions, dimensions)
        self.distance_key = nn.Linear(dimensions, dimensions, bias=False)
        self.distance_query = nn.Linear(dimensions, dimensions)
        self.output = nn.Linear(dimensions, dimensions)

    def forward(self, inputs: Tensor, visible: Tensor, distances: Tensor) -> Tensor:
        """``[batch, length, dimensions]`` to the same.

        Args:
            inputs: attended from and to.
            visible: what is no padding, bool ``[batch, length]``.
            distances: vectors of the distances from ``1 - n`` to ``n - 1``, ``[2 n - 1, dimensions]``, where ``n`` is
                at least the length.
        """
        length = inputs.shape[1]
        spare = (len(distances) + 1) // 2 - length
        distances = distances[spare : len(distances) - spare]
        queries, keys, values = (self._split(layer(inputs)) for layer in (self.query, self.key, self.value))
        distance_keys, distance_queries = (
            self._split(layer(distances)[None]) for layer in (self.distance_key, self.distance_query)
        )
        places = torch.arange(length, device=inputs.device)
        # where the vector of i - j stands
        index = (places[:, None] - places + length - 1).expand(*queries.shape[:2], length, length)
        scores = queries @ keys.transpose(-2, -1)
        scores = scores + (queries @ distance_keys.transpose(-2, -1)).gather(-1, index)
        # rows are places attended to here, and columns those attended from
        from_distances = (keys @ distance_queries.transpose(-2, -1)).gather(-1, index.transpose(-2, -1))
        scores = (scores + from_distances.transpose(-2, -1)) * (3 * queries.shape[-1]) ** -0.5
        weights = scores.masked_fill(~visible[:, None, None, :], -torch.inf).softmax(dim=-1)
        mixed = dropout(weights, self.dropout, training=self.training) @ values
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, vectors: Tensor) -> Tensor:
        """Vectors of all heads, ``[batch, length, dimensions]``, to ``[batch, heads, length, dimensions / heads]``."""
        return vectors.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class DeBERTaBlock(BERTBlock):
    """The block of BERT with :class:`DisentangledAttention`, which is handed vectors of distances."""

    def __init__(self, dimensions: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__(dimensions, heads, inner, dropout)
        self.attention = DisentangledAttention(dimensions, heads, dropout)


BLOCKS: dict[str, type[nn.Module]] = {
    "sasrec": SASRecBlock,
    "pre_norm": PreNormBlock,
    "gpt2": GPT2Block,
    "ligr": LiGRBlock,
}
