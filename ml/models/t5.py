"""The encoder-decoder transformer of T5, without its vocabulary.

Norms without mean or bias ahead of each layer, positions as trained biases of attention scores by distance, scores that
are not scaled, and no biases in linear layers (Raffel et al., "Exploring the Limits of Transfer Learning with a Unified
Text-to-Text Transformer", JMLR 21, 2020, section 2.1). With its weights copied it computes what Hugging Face's
``T5Model`` computes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.dropout import Dropout, dropout

_NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class T5Sizes:
    """Sizes of both stacks.

    Attributes:
        dimensions: width of inputs and states.
        heads: attention heads of each layer.
        head_dimensions: width of a head; the heads together need not be as wide as the states.
        feed_forward_dimensions: inner width of the feed-forward layers.
        encoder_blocks: self-attention and feed-forward layers.
        decoder_blocks: the same with attention to the encoder's states between.
        feed_forward: ``relu`` as published, or ``gated_gelu`` as in version 1.1.
        dropout: share of activations dropped while training.
        position_buckets: of distances that have a bias of their own.
        position_distance: distances from here on share one bucket.
    """

    dimensions: int
    heads: int
    head_dimensions: int
    feed_forward_dimensions: int
    encoder_blocks: int
    decoder_blocks: int
    feed_forward: Literal["relu", "gated_gelu"]
    dropout: float
    position_buckets: int = 32
    position_distance: int = 128


@dataclass(frozen=True)
class Memory:
    """What the decoder attends to, computed once for each history.

    Attributes:
        keys: of each decoder block, ``[rows, heads, places, head_dimensions]``.
        values: of the same shape.
        bias: 0 for a place that is seen and the lowest number for one that is not, ``[rows, 1, 1, places]``.
    """

    keys: list[Tensor]
    values: list[Tensor]
    bias: Tensor

    @property
    def rows(self) -> int:
        return len(self.bias)


@dataclass
class Cache:
    """Keys and values of the tokens that the decoder has read so far, of several prefixes of each history.

    Attributes:
        keys: of each decoder block, ``[rows, prefixes, heads, tokens, head_dimensions]``; empty at the start.
        values: of the same shape.
    """

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def reorder(self, prefixes: Tensor) -> None:
        """Continue the given prefixes, int64 ``[rows, new prefixes]``, in place of those there are."""
        for tensors in (self.keys, self.values):
            for block, known in enumerate(tensors):
                first = torch.arange(len(known), device=known.device)[:, None] * known.shape[1]
                chosen = known.flatten(0, 1).index_select(0, (first + prefixes).flatten())
                tensors[block] = chosen.unflatten(0, prefixes.shape)


def position_buckets(distances: Tensor, bidirectional: bool, buckets: int, most: int) -> Tensor:
    """Buckets of distances: one for each of the small ones, logarithmically wider ones up to ``most``.

    Args:
        distances: place attended to less the place that attends, int64 of any shape.
        bidirectional: half of the buckets are for later places; otherwise later places share the bucket of distance 0.
        buckets: how many there are.
        most: this distance and longer ones share the last bucket.

    Returns:
        int64 of the same shape.
    """
    offset = torch.zeros_like(distances)
    if bidirectional:
        buckets //= 2
        offset = (distances > 0).long() * buckets
        distances = distances.abs()
    else:
        distances = (-distances).clamp(min=0)
    exact = buckets // 2
    wide = torch.log(distances.clamp(min=1).float() / exact) / math.log(most / exact) * (buckets - exact)
    wide = (exact + wide.long()).clamp(max=buckets - 1)
    return offset + torch.where(distances < exact, distances, wide)


class PositionBias(nn.Module):
    """Biases of attention scores by distance, one a head and bucket, shared by all blocks of a stack."""

    def __init__(self, sizes: T5Sizes, bidirectional: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sizes.position_buckets, sizes.heads).normal_(std=sizes.dimensions**-0.5))
        self.bidirectional = bidirectional
        self.most = sizes.position_distance

    def forward(self, first: int, places: int) -> Tensor:
        """Of the places from ``first`` on, to all ``places``: ``[1, heads, places - first, places]``."""
        place = torch.arange(places, device=self.weight.device)
        distances = place[None, :] - place[first:, None]
        found = position_buckets(distances, self.bidirectional, len(self.weight), self.most)
        return F.embedding(found, self.weight).permute(2, 0, 1)[None]


class Attention(nn.Module):
    """Multi-head attention whose scores are not scaled; weights start so that they need not be."""

    def __init__(self, sizes: T5Sizes) -> None:
        super().__init__()
        inner = sizes.heads * sizes.head_dimensions
        self.heads = sizes.heads
        self.dropout = sizes.dropout
        self.query = _linear(sizes.dimensions, inner, (sizes.dimensions * sizes.head_dimensions) ** -0.5)
        self.key_value = _linear(sizes.dimensions, 2 * inner, sizes.dimensions**-0.5)
        self.output = _linear(inner, sizes.dimensions, inner**-0.5)

    def queries(self, inputs: Tensor) -> Tensor:
        """``[rows, places, dimensions]`` to ``[rows, heads, places, head_dimensions]``."""
        return self._split(self.query(inputs))

    def keys_and_values(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """``[rows, places, dimensions]`` to two of ``[rows, heads, places, head_dimensions]``."""
        keys, values = self.key_value(inputs).chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """``[rows, heads, places, head_dimensions]`` to ``[rows, places, dimensions]``; ``bias`` is added to the
        scores ``[rows, heads, places, places attended to]``."""
        weights = (queries @ keys.transpose(-2, -1) + bias).softmax(dim=-1)
        mixed = dropout(weights, self.dropout, self.training) @ values
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, inputs: Tensor) -> Tensor:
        return inputs.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, or the inner one gated by a GELU (Shazeer, "GLU Variants Improve
    Transformer", 2020); ``[..., dimensions]`` to the same."""

    def __init__(self, sizes: T5Sizes) -> None:
        super().__init__()
        deviation = sizes.dimensions**-0.5
        self.widen = _linear(sizes.dimensions, sizes.feed_forward_dimensions, deviation)
        gated = sizes.feed_forward == "gated_gelu"
        self.gate = _linear(sizes.dimensions, sizes.feed_forward_dimensions, deviation) if gated else None
        self.narrow = _linear(sizes.feed_forward_dimensions, sizes.dimensions, sizes.feed_forward_dimensions**-0.5)
        self.dropout = Dropout(sizes.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.gate is None:
            inner = F.relu(self.widen(inputs))
        else:
            inner = F.gelu(self.gate(inputs), approximate="tanh") * self.widen(inputs)
        return self.narrow(self.dropout(inner))


class EncoderBlock(nn.Module):
    """Self-attention to all places, and a feed-forward layer, each added to what it reads."""

    def __init__(self, sizes: T5Sizes) -> None:
        super().__init__()
        self.attention_norm = _norm(sizes)
        self.attention = Attention(sizes)
        self.feed_forward_norm = _norm(sizes)
        self.feed_forward = FeedForward(sizes)
        self.dropout = Dropout(sizes.dropout)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """``[rows, places, dimensions]`` to the same; ``bias`` of attention, ``[rows, heads, places, places]``."""
        normalised = self.attention_norm(hidden)
        attended = self.attention.attend(
            self.attention.queries(normalised), *self.attention.keys_and_values(normalised), bias
        )
        hidden = hidden + self.dropout(attended)
        return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))


class DecoderBlock(nn.Module):
    """Self-attention to earlier tokens, attention to the history, and a feed-forward layer."""

    def __init__(self, sizes: T5Sizes) -> None:
        super().__init__()
        self.attention_norm = _norm(sizes)
        self.attention = Attention(sizes)
        self.history_norm = _norm(sizes)
        self.history_attention = Attention(sizes)
        self.feed_forward_norm = _norm(sizes)
        self.feed_forward = FeedForward(sizes)
        self.dropout = Dropout(sizes.dropout)

    def forward(self, hidden: Tensor, bias: Tensor, keys: Tensor, values: Tensor, history_bias: Tensor) -> Tensor:
        """All tokens at once.

        Args:
            hidden: ``[rows, tokens, dimensions]``.
            bias: of self-attention, ``[1, heads, tokens, tokens]``.
            keys: of the history, ``[rows, heads, places, head_dimensions]``, as are the values.
            values: of the history.
            history_bias: ``[rows, 1, 1, places]``.

        Returns:
            ``[rows, tokens, dimensions]``.
        """
        normalised = self.attention_norm(hidden)
        attended = self.attention.attend(
            self.attention.queries(normalised), *self.attention.keys_and_values(normalised), bias
        )
        return self._history_and_feed_forward(hidden + self.dropout(attended), keys, values, history_bias)

    def step(
        self, hidden: Tensor, known: tuple[Tensor, Tensor] | None, bias: Tensor, memory: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The next token of several prefixes of each history.

        Args:
            hidden: ``[rows, prefixes, dimensions]``.
            known: keys and values of the tokens before, ``[rows, prefixes, heads, tokens, head_dimensions]``.
            bias: of self-attention, ``[1, heads, 1, tokens + 1]``.
            memory: keys, values and bias of the history, which all prefixes share.

        Returns:
            ``[rows, prefixes, dimensions]``, and keys and values with this token.
        """
        shape = hidden.shape[:2]
        normalised = self.attention_norm(hidden).flatten(0, 1)[:, None]
        added = (each.unflatten(0, shape) for each in self.attention.keys_and_values(normalised))
        keys, values = added if known is None else (torch.cat(pair, dim=3) for pair in zip(known, added, strict=True))
        queries = self.attention.queries(normalised)
        attended = self.attention.attend(queries, keys.flatten(0, 1), values.flatten(0, 1), bias)
        hidden = hidden + self.dropout(attended.view_as(hidden))
        # the prefixes of a history stand where the tokens of a prefix stand in training: all see the same history
        return self._history_and_feed_forward(hidden, *memory), (keys, values)

    def _history_and_feed_forward(self, hidden: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        queries = self.history_attention.queries(self.history_norm(hidden))
        hidden = hidden + self.dropout(self.history_attention.attend(queries, keys, values, bias))
        return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))


class T5(nn.Module):
    """An encoder of histories and a decoder of tokens, from vectors to states; what vectors stand for and how states
    are scored is up to the model that holds it.

    Args:
        sizes: of both stacks.
    """

    def __init__(self, sizes: T5Sizes) -> None:
        super().__init__()
        self.dropout = Dropout(sizes.dropout)
        self.encoder_positions = PositionBias(sizes, bidirectional=True)
        self.encoder_blocks = nn.ModuleList(EncoderBlock(sizes) for _ in range(sizes.encoder_blocks))
        self.encoder_norm = _norm(sizes)
        self.decoder_positions = PositionBias(sizes, bidirectional=False)
        self.decoder_blocks = nn.ModuleList(DecoderBlock(sizes) for _ in range(sizes.decoder_blocks))
        self.decoder_norm = _norm(sizes)

    def encode(self, vectors: Tensor, visible: Tensor) -> Memory:
        """Read histories.

        Args:
            vectors: ``[rows, places, dimensions]``.
            visible: which places are seen, bool ``[rows, places]``, at least one of each row.

        Returns:
            What the decoder attends to.
        """
        encoded = self.encoded(vectors, visible)
        pairs = [block.history_attention.keys_and_values(encoded) for block in self._decoder()]
        return Memory([keys for keys, _ in pairs], [values for _, values in pairs], _hidden_places(visible, encoded))

    def encoded(self, vectors: Tensor, visible: Tensor) -> Tensor:
        """States of the encoder, ``[rows, places, dimensions]``; arguments as of :meth:`encode`."""
        bias = self.encoder_positions(0, vectors.shape[1]) + _hidden_places(visible, vectors)
        hidden = self.dropout(vectors)
        for block in self.encoder_blocks:
            hidden = block(hidden, bias)
        return self.dropout(self.encoder_norm(hidden))

    def decode(self, vectors: Tensor, memory: Memory) -> Tensor:
        """States after each of the given tokens, which see those before them and the history.

        Args:
            vectors: of the tokens, ``[rows, tokens, dimensions]``.
            memory: of the histories.

        Returns:
            ``[rows, tokens, dimensions]``.
        """
        tokens = vectors.shape[1]
        later = torch.ones(tokens, tokens, dtype=torch.bool, device=vectors.device).triu(1)
        bias = self.decoder_positions(0, tokens).masked_fill(later, torch.finfo(vectors.dtype).min)
        hidden = self.dropout(vectors)
        for block, keys, values in zip(self._decoder(), memory.keys, memory.values, strict=True):
            hidden = block(hidden, bias, keys, values, memory.bias)
        return self.dropout(self.decoder_norm(hidden))

    def step(self, vectors: Tensor, memory: Memory, cache: Cache) -> Tensor:
        """States after one more token of each prefix: what :meth:`decode` computes for it, without computing the
        tokens before again.

        Args:
            vectors: of the next token of each prefix, ``[rows, prefixes, dimensions]``.
            memory: of the histories; all prefixes of a row share it.
            cache: of the tokens before, one prefix each; the token is added to it.

        Returns:
            ``[rows, prefixes, dimensions]``.
        """
        tokens = cache.keys[0].shape[3] if cache.keys else 0
        bias = self.decoder_positions(tokens, tokens + 1)
        hidden = self.dropout(vectors)
        started = bool(cache.keys)
        for place, block in enumerate(self._decoder()):
            known = (cache.keys[place], cache.values[place]) if started else None
            hidden, (keys, values) = block.step(
                hidden, known, bias, (memory.keys[place], memory.values[place], memory.bias)
            )
            if started:
                cache.keys[place], cache.values[place] = keys, values
            else:
                cache.keys.append(keys)
                cache.values.append(values)
        return self.dropout(self.decoder_norm(hidden))

    def _decoder(self) -> Iterable[DecoderBlock]:
        return (block for block in self.decoder_blocks if isinstance(block, DecoderBlock))


def _hidden_places(visible: Tensor, like: Tensor) -> Tensor:
    """Bool ``[rows, places]`` as something to add to scores, ``[rows, 1, 1, places]``."""
    hidden = torch.zeros(visible.shape, dtype=like.dtype, device=like.device)
    return hidden.masked_fill(~visible, torch.finfo(like.dtype).min)[:, None, None]


def _linear(inputs: int, outputs: int, deviation: float) -> nn.Linear:
    """Without a bias; weights start normal, as in Mesh TensorFlow."""
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(linear.weight, std=deviation)
    return linear


def _norm(sizes: T5Sizes) -> nn.RMSNorm:
    return nn.RMSNorm(sizes.dimensions, eps=_NORM_EPSILON)
