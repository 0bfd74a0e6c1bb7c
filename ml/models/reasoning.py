"""Latent reasoning: states that a transformer reads again before an item is chosen.

Source: Tang et al., "Think Before Recommend: Unleashing the Latent Reasoning Power for Sequential Recommendation"
(ReaRec), arXiv 2503.22675, with progressive reasoning: each step is trained, earlier ones with a higher temperature.
Unlike there every position of a training history reasons, not only the last; and neither the contrast of noisy steps
nor ensembles of steps are included.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ml.models.catalogue import Catalogue
from ml.models.dropout import dropout
from ml.models.sasrec import SASRec
from ml.models.settings import ReasoningSASRecSettings
from ml.models.transformer import PreNormBlock


class ReasoningSASRec(SASRec):
    """SASRec whose last state becomes the input of further positions, one a step.

    The input of a step is the state before it and a vector of the step. It attends to the items up to its position,
    whose keys and values are computed once, and to the earlier steps of the same position, so that all positions
    reason side by side without seeing each other's steps or later items: with ``n`` steps this costs ``n`` more passes
    through the blocks, not one for each position.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: ReasoningSASRecSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.step_vectors = nn.Parameter(
            torch.empty(settings.reasoning_steps, settings.dimensions).normal_(std=settings.embedding_deviation)
        )
        steps = settings.reasoning_steps
        self.scales = tuple(settings.reasoning_temperature ** (step + 1 - steps) for step in range(steps))

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        hidden, read = self._read(items, lengths)
        return self._reasoned(hidden, read, _causal(items))[-1]

    def states(
        self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor, times: Tensor | None = None
    ) -> Tensor:
        return self._steps(items, lengths, positions)[-1]

    def trained_states(
        self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor, times: Tensor | None = None
    ) -> list[Tensor]:
        """States of all steps at the given places, each divided by the temperature of its step.

        Args:
            items: as for :meth:`states`, like all others.
            lengths: items of each row.
            users: ignored.
            positions: the places.
            times: ignored.

        Returns:
            ``[states, dimensions]`` for each step; the last is not scaled.
        """
        steps = self._steps(items, lengths, positions)
        return [state * scale for state, scale in zip(steps, self.scales, strict=True)]

    def _steps(self, items: Tensor, lengths: Tensor, positions: Tensor) -> list[Tensor]:
        """States of all steps at the given places, each ``[states, dimensions]``."""
        hidden, read = self._read(items, lengths)
        if len(positions) > len(items):
            steps = self._reasoned(hidden, read, _causal(items))
            return [step.flatten(0, 1).index_select(0, positions) for step in steps]
        # a state a history, as where items are ranked: the other positions need not reason
        rows = torch.div(positions, items.shape[1], rounding_mode="floor")
        places = positions - rows * items.shape[1]
        visible = (torch.arange(items.shape[1], device=items.device) <= places[:, None])[:, None]
        read = [(keys.index_select(0, rows), values.index_select(0, rows)) for keys, values in read]
        hidden = hidden.flatten(0, 1).index_select(0, positions)[:, None]
        return [step[:, 0] for step in self._reasoned(hidden, read, visible)]

    @property
    def _blocks(self) -> list[PreNormBlock]:
        return cast(list[PreNormBlock], list(self.blocks))

    def _read(self, items: Tensor, lengths: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """States of SASRec at every position, and keys and values of the items in each block."""
        read: list[tuple[Tensor, Tensor]] = []
        hidden = self.embedded(items, lengths)
        for block in self._blocks:
            read.append(block.attention.keys_and_values(block.attention_norm(hidden)))
            hidden = block(hidden)
        return self.norm(hidden), read

    def _reasoned(self, hidden: Tensor, read: list[tuple[Tensor, Tensor]], visible: Tensor) -> list[Tensor]:
        """States after each step.

        Args:
            hidden: states before the first, ``[batch, places, dimensions]``.
            read: of each block keys and values of the items, each ``[batch, heads, length, dimensions / heads]``.
            visible: items that each place sees, bool ``[batch or 1, places, length]``.
        """
        thoughts: list[list[tuple[Tensor, Tensor]]] = [[] for _ in read]
        steps = []
        for vector in self.step_vectors:
            hidden = self.dropout(hidden + vector)
            for block, of_items, of_thoughts in zip(self._blocks, read, thoughts, strict=True):
                hidden = reasoning_step(block, hidden, of_items, of_thoughts, visible)
            hidden = self.norm(hidden)
            steps.append(hidden)
        return steps


def reasoning_step(
    block: PreNormBlock,
    inputs: Tensor,
    of_items: tuple[Tensor, Tensor],
    of_thoughts: list[tuple[Tensor, Tensor]],
    visible: Tensor,
) -> Tensor:
    """A block at one step of reasoning of several places, each with steps of its own.

    Args:
        block: the block.
        inputs: ``[batch, places, dimensions]``.
        of_items: keys and values of the items, each ``[batch, heads, length, dimensions / heads]``.
        of_thoughts: the same of the earlier steps of these places, ``[batch, heads, places, dimensions / heads]``;
            those of this step are appended.
        visible: as in :meth:`ReasoningSASRec._reasoned`.

    Returns:
        As ``inputs``.
    """
    attention = block.attention
    normalised = block.attention_norm(inputs)
    queries = attention.split(attention.query(normalised))
    queries = queries * queries.shape[-1] ** -0.5
    of_thoughts.append(attention.keys_and_values(normalised))
    scores = (queries @ of_items[0].transpose(-2, -1)).masked_fill(~visible[:, None], -torch.inf)
    own = torch.stack([(queries * keys).sum(dim=-1) for keys, _ in of_thoughts], dim=-1)
    weights = torch.cat([scores, own], dim=-1).softmax(dim=-1)
    weights = dropout(weights, attention.dropout, block.training)
    length = scores.shape[-1]
    mixed = weights[..., :length] @ of_items[1]
    for step, (_, values) in enumerate(of_thoughts):
        mixed = mixed + weights[..., length + step, None] * values
    inputs = inputs + block.attention_dropout(attention.joined(mixed))
    return inputs + block.feed_forward(block.feed_forward_norm(inputs))


def _causal(items: Tensor) -> Tensor:
    """Each place sees itself and all earlier ones, bool ``[1, length, length]``."""
    length = items.shape[1]
    return torch.ones(1, length, length, dtype=torch.bool, device=items.device).tril()
