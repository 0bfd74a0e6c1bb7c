"""The blocks of GPT-2 with a cache of keys and values: a history is read once, and continued by many sequences.

A continuation is one token after another at the end of a history. Continuations of the same history (the beams of a
search) share its keys and values, which are neither computed again nor copied; what they added themselves is kept for
each, and re-ordered when some are dropped and others branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.transformer import GPT2Block

# attention weights computed at a time, so that memory does not grow with the number of continuations
_WEIGHTS_AT_ONCE = 1 << 24


class GPT2(nn.Module):
    """The transformer of GPT-2 (Radford et al., 2019) without its embeddings, with fresh weights as GPT-2 draws them.

    Equals the blocks and the final norm of Hugging Face's ``GPT2Model``.

    Args:
        dimensions: width of inputs and states.
        blocks: number of blocks.
        heads: attention heads of a block.
        inner: inner width of the feed-forward layers.
        dropout: share of activations and attention weights dropped while training.
        deviation: standard deviation of the normal distribution that weight matrices start from; those that are added
            to the residual stream have it divided by the square root of the number of additions.
    """

    def __init__(
        self, dimensions: int, blocks: int, heads: int, inner: int, dropout: float, deviation: float = 0.02
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(GPT2Block(dimensions, heads, inner, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(dimensions)
        for block in self.each_block():
            ends = (block.attention.output, block.feed_forward.narrow)
            for module in block.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=deviation / (2 * blocks if module in ends else 1) ** 0.5)
                    nn.init.zeros_(module.bias)

    def each_block(self) -> Iterator[GPT2Block]:
        """The blocks, first to last."""
        for block in self.blocks:
            assert isinstance(block, GPT2Block)
            yield block

    def forward(self, inputs: Tensor) -> Tensor:
        """States at all places, each of its own and earlier inputs: ``[batch, length, dimensions]`` to the same."""
        for block in self.blocks:
            inputs = block(inputs)
        return self.norm(inputs)

    def states_at(self, inputs: Tensor, places: Tensor) -> Tensor:
        """:meth:`forward` at some places alone, for which the last block has less to do.

        Args:
            inputs: ``[batch, length, dimensions]``.
            places: int64 ``[batch, places]``.

        Returns:
            ``[batch, places, dimensions]``.
        """
        *earlier, last = self.each_block()
        for block in earlier:
            inputs = block(inputs)
        at = places[..., None].expand(-1, -1, inputs.shape[2])
        normalised, attention = last.attention_norm(inputs), last.attention
        keys, values = attention.keys_and_values(normalised)
        visible = torch.arange(inputs.shape[1], device=inputs.device) <= places[..., None]
        queries = attention.split(attention.query(normalised.gather(1, at)))
        states = inputs.gather(1, at) + last.attention_dropout(attention.mix(queries, keys, values, visible))
        return self.norm(states + last.feed_forward(last.feed_forward_norm(states)))

    def read(self, inputs: Tensor) -> tuple[Tensor, list[KeysAndValues]]:
        """:meth:`forward`, and the keys and values of each block."""
        cache = []
        for block in self.each_block():
            normalised = block.attention_norm(inputs)
            attention = block.attention
            # contiguous, or every product with them while a history is continued would copy them
            keys, values = (part.contiguous() for part in attention.keys_and_values(normalised))
            cache.append(KeysAndValues(keys, values))
            attended = attention.mix(attention.split(attention.query(normalised)), keys, values, None)
            inputs = inputs + block.attention_dropout(attended)
            inputs = inputs + block.feed_forward(block.feed_forward_norm(inputs))
        return self.norm(inputs), cache


@dataclass(frozen=True)
class KeysAndValues:
    """What one block attends to: keys and values, each ``[batch, heads, length, dimensions of a head]``."""

    keys: Tensor
    values: Tensor

    def take(self, rows: Tensor) -> KeysAndValues:
        """Those of some rows, int64 ``[rows]``."""
        return KeysAndValues(self.keys.index_select(0, rows), self.values.index_select(0, rows))


class Continuation:
    """One sequence that continues each history, token by token, along a :class:`GPT2`: up to ``room`` tokens.

    For several sequences a history, such as the beams of a search, there is :class:`Continuations`. This one keeps
    histories and tokens in one piece of memory, which is allocated once, so that attention is two products and a
    softmax.

    Args:
        trunk: in evaluation mode.
        histories: keys and values of each block, a row for each history: what :meth:`GPT2.read` returns.
        visible: which places of a history are no padding, bool ``[rows, length]``.
        room: tokens that may be added.
    """

    def __init__(self, trunk: GPT2, histories: list[KeysAndValues], visible: Tensor, room: int) -> None:
        self.trunk = trunk
        _, heads, self.place, _ = histories[0].keys.shape
        # zeros behind the histories: what is not written yet has no weight, but must be a number
        self.memory = [
            KeysAndValues(*(F.pad(each.flatten(0, 1), (0, 0, 0, room)) for each in (one.keys, one.values)))
            for one in histories
        ]
        # added to attention scores, [rows * heads, 1, length + room]; a token becomes visible when it is written
        bias = histories[0].keys.new_zeros(visible.shape).masked_fill_(~visible, -torch.inf)
        self.bias = F.pad(bias, (0, room), value=-torch.inf).repeat_interleave(heads, dim=0)[:, None]

    def extend(self, inputs: Tensor) -> Tensor:
        """Add a token to each sequence.

        Args:
            inputs: embedded tokens, ``[rows, dimensions]``.

        Returns:
            States after them, of the same shape.
        """
        rows, dimensions = inputs.shape
        self.bias[:, :, self.place] = 0
        for block, memory in zip(self.trunk.each_block(), self.memory, strict=True):
            attention = block.attention
            heads, width = attention.heads, dimensions // attention.heads
            normalised = block.attention_norm(inputs)
            query = attention.query(normalised).view(rows * heads, 1, width)
            keys, values = attention.key_value(normalised).view(rows, 2, heads, width).unbind(dim=1)
            memory.keys[:, self.place] = keys.flatten(0, 1)
            memory.values[:, self.place] = values.flatten(0, 1)
            scores = torch.baddbmm(self.bias, query, memory.keys.transpose(1, 2), alpha=width**-0.5)
            mixed = torch.bmm(scores.softmax(dim=2), memory.values)
            inputs = inputs + attention.output(mixed.view(rows, dimensions))
            inputs = inputs + block.feed_forward(block.feed_forward_norm(inputs))
        self.place += 1
        return self.trunk.norm(inputs)


class Continuations:
    """Sequences that continue histories, several for each: state of a search along a :class:`GPT2`.

    Args:
        trunk: in evaluation mode.
        histories: keys and values of each block, a row for each history: what :meth:`GPT2.read` returns.
        visible: which places of a history are no padding, bool ``[rows, length]``.
    """

    def __init__(self, trunk: GPT2, histories: list[KeysAndValues], visible: Tensor) -> None:
        self.trunk = trunk
        self.histories = histories
        # added to attention scores, [rows, heads, continuations, length]
        self.bias = torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, -torch.inf)[:, None, None]
        # of each block: [rows, continuations, heads, tokens so far, dimensions of a head]
        self.added: list[KeysAndValues] = []

    def reorder(self, continued: Tensor) -> None:
        """Go on from some of the continuations, each any number of times.

        Args:
            continued: which of the continuations each of the new ones goes on from, int64 ``[rows, continuations]``.
        """
        rows = torch.arange(len(continued), device=continued.device)[:, None]
        self.added = [KeysAndValues(each.keys[rows, continued], each.values[rows, continued]) for each in self.added]

    def extend(self, inputs: Tensor) -> Tensor:
        """Add a token to each continuation.

        Args:
            inputs: embedded tokens, ``[rows, continuations, dimensions]``; as many continuations as before, or any
                number where they have no token yet.

        Returns:
            States after them, of the same shape.
        """
        added = []
        for number, block in enumerate(self.trunk.each_block()):
            attention = block.attention
            normalised = block.attention_norm(inputs)
            # the continuations of a history stand where the places of a sequence do
            queries = attention.split(attention.query(normalised))
            keys, values = (part.transpose(1, 2)[:, :, :, None] for part in attention.keys_and_values(normalised))
            if self.added:
                keys = torch.cat([self.added[number].keys, keys], dim=3)
                values = torch.cat([self.added[number].values, values], dim=3)
            added.append(KeysAndValues(keys, values))
            inputs = inputs + attention.joined(self._mixed(queries, self.histories[number], added[-1]))
            inputs = inputs + block.feed_forward(block.feed_forward_norm(inputs))
        self.added = added
        return self.trunk.norm(inputs)

    def _mixed(self, queries: Tensor, history: KeysAndValues, own: KeysAndValues) -> Tensor:
        """Attention over a history and over the tokens of each continuation itself.

        Args:
            queries: ``[rows, heads, continuations, dimensions of a head]``.
            history: shared by the continuations of a row.
            own: with a dimension of the continuations, which includes the token that asks.

        Returns:
            The shape of the queries.
        """
        rows, heads, continuations, width = queries.shape
        length = history.keys.shape[2]
        step = max(1, _WEIGHTS_AT_ONCE // max(1, rows * heads * (length + own.keys.shape[3])))
        found = []
        for start in range(0, continuations, step):
            query = queries[:, :, start : start + step] * width**-0.5
            own_keys = own.keys[:, start : start + step].transpose(1, 2)
            own_values = own.values[:, start : start + step].transpose(1, 2)
            scores = torch.cat(
                [query @ history.keys.transpose(2, 3) + self.bias, (own_keys @ query[..., None]).squeeze(-1)], dim=-1
            )
            weights = scores.softmax(dim=-1)
            of_history, of_own = weights[..., :length], weights[..., length:]
            found.append(of_history @ history.values + (of_own[..., None, :] @ own_values).squeeze(-2))
        return found[0] if len(found) == 1 else torch.cat(found, dim=2)
