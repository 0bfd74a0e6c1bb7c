"""Cross-entropy over the whole catalogue.

``loss = log sum_i exp(s_i) - mean_t s_t`` over the items ``i`` and a state's targets ``t``: the cross-entropy between
the model's softmax and the uniform distribution over the targets, plain cross-entropy where there is one. With several
targets it is the softmax objective of recency sampling of sequences (Petrov and Macdonald, RecSys 2022).

The ``[states, items]`` scores never exist as a whole. Where even a few rows of them are too large the catalogue is cut
too, with a running maximum and sum (Milakov and Gimelshein, 2018), and scores are computed twice.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ml.models.item_embeddings import ItemEmbedding
from ml.objectives.chunked_loss import (
    RowLosses,
    chunks,
    item_table,
    loss_over_all,
    loss_type,
    loss_with_gradients,
    product_type,
)
from ml.objectives.settings import SoftmaxSettings
from ml.objectives.targets import Targets
from ml.registry import Registered

REGISTERED = Registered(
    name="softmax",
    title="Softmax",
    description="Cross-entropy over the whole catalogue.",
    source="Petrov and Macdonald, RecSys 2022, for several targets",
    path="ml.objectives.settings:SoftmaxSettings",
    rank=10,
)

# Scores held at once. Each chunk of states reads the item table and adds to its gradient, so chunks are larger
# than for sampled negatives; fewer than so many states at once would make the products slow.
_SCORES_AT_ONCE = {"cpu": 1 << 22}
_SCORES_AT_ONCE_ELSEWHERE = 1 << 27
_LEAST_STATES_AT_ONCE = 32
_STATES_PER_BLOCK = 512


class Softmax:
    """Cross-entropy over the whole catalogue."""

    def __init__(self, settings: SoftmaxSettings, counts: np.ndarray) -> None:
        pass

    def __call__(
        self, states: Tensor, targets: Targets, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        at_once = _SCORES_AT_ONCE.get(states.device.type, _SCORES_AT_ONCE_ELSEWHERE)
        rows = at_once // embedding.items
        if rows >= min(_LEAST_STATES_AT_ONCE, len(states)):
            return softmax_by_rows(states, targets, embedding, rows)
        return softmax_by_blocks(states, targets, embedding, _STATES_PER_BLOCK, at_once // _STATES_PER_BLOCK)


def softmax_by_rows(states: Tensor, targets: Targets, embedding: ItemEmbedding, rows: int) -> Tensor:
    """The loss, from the scores of all items for so many states at once."""
    state_of_target = targets.rows(len(states))
    share = targets.weights(states) * len(states)
    bounds = chunk_bounds(targets, [start for start, _ in chunks(len(states), rows)])

    def row_loss(scores: Tensor, start: int, end: int) -> RowLosses:
        these = slice(*bounds[start])
        places = (state_of_target[these] - start, targets.items[these])
        best = scores.amax(dim=1)
        probability = torch.softmax(scores, dim=1)
        # the best item's probability is no smaller than 1 / items, whose logarithm is exact enough
        losses = best - probability.amax(dim=1).log_()
        losses.index_add_(0, places[0], -share[these] * scores[places])
        return RowLosses(losses, probability.index_put_(places, -share[these], accumulate=True))

    return loss_over_all(row_loss, states, embedding, rows)


def chunk_bounds(targets: Targets, starts: list[int]) -> dict[int, tuple[int, int | None]]:
    """First and behind-last target of the chunk of states that starts at each of the given states."""
    if targets.states is None:
        first = starts
    else:
        first = torch.searchsorted(targets.states, torch.tensor(starts, device=targets.states.device)).tolist()
    return {start: (first[i], first[i + 1] if i + 1 < len(first) else None) for i, start in enumerate(starts)}


def softmax_by_blocks(states: Tensor, targets: Targets, embedding: ItemEmbedding, rows: int, columns: int) -> Tensor:
    """The loss, from the scores of so many items (``columns``) for so many states (``rows``) at once."""
    product, kind = product_type(states), loss_type(states)
    state_of_target, weights = targets.rows(len(states)), targets.weights(states)

    def compute(wants_gradients: bool, states: Tensor, table: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        weight = 1 / max(1, len(states))
        low = states.to(product)
        item_chunks = chunks(len(table), max(1, columns))
        loss = torch.zeros((), dtype=kind, device=states.device)
        if wants_gradients:
            gradient_of_states = torch.zeros(states.shape, dtype=kind, device=states.device)
            gradient_of_table = torch.zeros(table.shape, dtype=kind, device=states.device)
        for start, end in chunks(len(states), rows):
            part = low[start:end]
            best = torch.full((end - start,), -math.inf, dtype=kind, device=states.device)
            total = torch.zeros_like(best)
            for first, last in item_chunks:
                scores = (part @ table[first:last].to(product).T).to(kind)
                higher = torch.maximum(best, scores.amax(dim=1))
                total = total * (best - higher).exp_() + scores.sub_(higher[:, None]).exp_().sum(dim=1)
                best = higher
            normaliser = best + total.log()
            loss += normaliser.sum() * weight
            if not wants_gradients:
                continue
            for first, last in item_chunks:
                vectors = table[first:last].to(product)
                scores = (part @ vectors.T).to(kind)
                back = scores.sub_(normaliser[:, None]).exp_().mul_(weight).to(product)
                gradient_of_states[start:end] += back @ vectors
                gradient_of_table[first:last] += back.T @ part
        of_targets, of_states = table.index_select(0, targets.items), states.index_select(0, state_of_target)
        loss -= (of_targets.to(kind) * of_states.to(kind)).sum(dim=1) @ weights
        if not wants_gradients:
            return loss, ()
        gradient_of_states.index_add_(0, state_of_target, -weights[:, None] * of_targets)
        gradient_of_table.index_add_(0, targets.items, -weights[:, None] * of_states)
        return loss, (gradient_of_states, gradient_of_table)

    return loss_with_gradients(compute, states, item_table(embedding))
