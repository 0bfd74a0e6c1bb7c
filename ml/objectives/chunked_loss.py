"""Losses over scores, computed together with their gradients, a chunk of positions at a time.

A loss is one number, so its gradient is known as soon as its value is: the backward pass only scales it. Nothing of
the size of all scores is kept between the passes, and a chunk of scores stays in the processor's cache from the
product that makes it to the products that take its gradient back. An objective gives a *row loss*: scores of a
chunk to losses and their gradient with respect to the scores, in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding

# scores held at once: few enough for the cache of a CPU, while a GPU wants large products
_SCORES_AT_ONCE = {"cpu": 1 << 20}
_SCORES_AT_ONCE_ELSEWHERE = 1 << 26


@dataclass(frozen=True)
class RowLosses:
    """Result of a row loss.

    Attributes:
        losses: ``[rows]``.
        gradient: with respect to the scores, of their shape; may be the scores' own memory.
        scale: what each row of the gradient is still to be multiplied by, ``[rows]``; ``None`` for 1.
    """

    losses: Tensor
    gradient: Tensor
    scale: Tensor | None = None


RowLoss = Callable[[Tensor], RowLosses]
Compute = Callable[..., tuple[Tensor, tuple[Tensor, ...]]]


def loss_with_gradients(compute: Compute, *inputs: Tensor) -> Tensor:
    """A loss whose gradients are computed along with it.

    Args:
        compute: ``(wants_gradients, *inputs)`` to the loss and its gradient with respect to each input (none where
            they are not wanted). It runs without autograd and without autocast.
        inputs: tensors.

    Returns:
        The loss; differentiable once.
    """
    device = inputs[0].device.type
    with torch.autocast(device, enabled=False):
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
            return _LossWithGradients.apply(compute, *inputs)
        return compute(False, *inputs)[0]


class _LossWithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx, compute: Compute, *inputs: Tensor) -> Tensor:
        loss, gradients = compute(True, *inputs)
        ctx.save_for_backward(*(g.to(tensor.dtype) for g, tensor in zip(gradients, inputs, strict=True)))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if upstream.device.type == "cpu" and upstream.item() == 1:
            return None, *ctx.saved_tensors
        return None, *(gradient * upstream.to(gradient.dtype) for gradient in ctx.saved_tensors)


def product_type(states: Tensor) -> torch.dtype:
    """Type that matrix products are to be computed in: autocast's where it is on, else that of the states."""
    if states.dtype != torch.float64 and torch.is_autocast_enabled(states.device.type):
        return torch.get_autocast_dtype(states.device.type)
    return states.dtype


def loss_type(states: Tensor) -> torch.dtype:
    """Type that losses are to be computed in: float32, or float64 for states of that type."""
    return torch.promote_types(states.dtype, torch.float32)


def rows_at_once(columns: int, device: torch.device) -> int:
    """Number of rows of scores to compute at once."""
    return max(1, _SCORES_AT_ONCE.get(device.type, _SCORES_AT_ONCE_ELSEWHERE) // max(1, columns))


def chunks(rows: int, at_once: int) -> list[tuple[int, int]]:
    """First and behind-last row of each chunk, all of about the same size."""
    parts = -(-rows // at_once)
    return [(rows * part // parts, rows * (part + 1) // parts) for part in range(parts)]


def item_table(embedding: ItemEmbedding) -> Tensor:
    """Vectors of all items, ``[items, dimensions]``, differentiable: the parameter itself where there is one."""
    if type(embedding) is DenseItemEmbedding:
        return embedding.weight
    return embedding(torch.arange(embedding.items, device=next(embedding.parameters()).device))


def loss_among_shared(
    row_loss: RowLoss,
    states: Tensor,
    items: Tensor,
    weights: Tensor,
    embedding: ItemEmbedding,
    negatives: Tensor,
    log_weights: float | Tensor = 0.0,
    leave_out_hits: bool = False,
) -> Tensor:
    """Weighted sum of losses of targets among negatives that all rows share.

    Args:
        row_loss: takes scores ``[rows, 1 + negatives]``, those of the target first.
        states: ``[targets, dimensions]``, one for each target.
        items: the targets, int64 ``[targets]``.
        weights: of the losses, ``[targets]``.
        embedding: scores the items.
        negatives: different items, ascending, int64 ``[negatives]``.
        log_weights: added to the negatives' scores; a number, or ``[negatives]``.
        leave_out_hits: score a negative that is a row's target as low as can be.
    """
    rows, types = torch.cat([negatives, items]), (product_type(states), loss_type(states))

    def compute(wants_gradients: bool, states: Tensor, vectors: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return _among_shared(
            row_loss, states, vectors, items, weights, negatives, log_weights, leave_out_hits, wants_gradients, types
        )

    def compute_with_table(wants_gradients: bool, states: Tensor, table: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss, gradients = compute(wants_gradients, states, table.index_select(0, places))
        if not wants_gradients:
            return loss, ()
        of_table = torch.zeros(table.shape, dtype=types[1], device=table.device)
        return loss, (gradients[0], of_table.index_add_(0, places, gradients[1]))

    if type(embedding) is DenseItemEmbedding:
        table, places = embedding.table_for(rows)
        return loss_with_gradients(compute_with_table, states, table)
    return loss_with_gradients(compute, states, embedding(rows))


def _among_shared(
    row_loss: RowLoss,
    states: Tensor,
    vectors: Tensor,
    items: Tensor,
    weights: Tensor,
    negatives: Tensor,
    log_weights: float | Tensor,
    leave_out_hits: bool,
    wants_gradients: bool,
    types: tuple[torch.dtype, torch.dtype],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The loss and its gradients with respect to states and ``vectors``: those of the negatives, then of the
    targets."""
    product, kind = types
    count = len(negatives)
    states, vectors = states.to(product), vectors.to(product)
    of_negatives, of_targets = vectors[:count], vectors[count:]
    if leave_out_hits:
        # negatives differ, so a target meets at most one of them: cheaper than comparing all pairs
        place = torch.searchsorted(negatives, items).clamp_(max=count - 1)
        hits = (negatives[place] == items)[:, None]
        place = place[:, None] + 1
    loss = torch.zeros((), dtype=kind, device=states.device)
    if wants_gradients:
        gradient_of_states = torch.empty(states.shape, dtype=kind, device=states.device)
        gradient_of_vectors = torch.empty(vectors.shape, dtype=kind, device=states.device)
        gradient_of_vectors[:count] = 0
    for start, end in chunks(len(states), rows_at_once(count + 1, states.device)):
        part, target = states[start:end], of_targets[start:end]
        scores = torch.empty(end - start, count + 1, dtype=kind, device=states.device)
        _product_into(scores[:, 1:], part, of_negatives.T)
        scores[:, 0] = (part.to(kind) * target.to(kind)).sum(dim=1)
        if isinstance(log_weights, Tensor) or log_weights:
            scores[:, 1:] += log_weights
        if leave_out_hits:
            there = place[start:end]
            scores.scatter_(1, there, scores.gather(1, there).masked_fill_(hits[start:end], torch.finfo(kind).min))
        result = row_loss(scores)
        loss += result.losses @ weights[start:end]
        if not wants_gradients:
            continue
        scale = weights[start:end, None] if result.scale is None else (weights[start:end] * result.scale)[:, None]
        scaled = part * scale
        back = result.gradient[:, 1:].to(product)
        torch.mul(result.gradient[:, :1], scaled, out=gradient_of_vectors[count + start : count + end])
        torch.mul(result.gradient[:, :1], target, out=gradient_of_states[start:end])
        _add_product(gradient_of_states[start:end], back, of_negatives)
        gradient_of_states[start:end] *= scale
        _add_product(gradient_of_vectors[:count], back.T, scaled.to(product))
    return loss, (gradient_of_states, gradient_of_vectors) if wants_gradients else ()


def loss_over_all(
    row_loss: Callable[[Tensor, int, int], RowLosses], states: Tensor, embedding: ItemEmbedding, rows: int
) -> Tensor:
    """Mean over states of losses of the scores of all items.

    Args:
        row_loss: takes scores ``[rows, items]`` of a chunk, its first row and the row behind its last.
        states: ``[states, dimensions]``.
        embedding: scores the items.
        rows: states a chunk.
    """
    product, kind = product_type(states), loss_type(states)

    def compute(wants_gradients: bool, states: Tensor, table: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        weight = 1 / max(1, len(states))
        states, vectors = states.to(product), table.to(product)
        loss = torch.zeros((), dtype=kind, device=states.device)
        if wants_gradients:
            gradient_of_states = torch.empty(states.shape, dtype=kind, device=states.device)
            gradient_of_table = torch.zeros(table.shape, dtype=kind, device=states.device)
        for start, end in chunks(len(states), rows):
            part = states[start:end]
            scores = torch.empty(end - start, len(table), dtype=kind, device=states.device)
            _product_into(scores, part, vectors.T)
            result = row_loss(scores, start, end)
            loss += result.losses.sum() * weight
            if not wants_gradients:
                continue
            scale = weight if result.scale is None else weight * result.scale[:, None]
            back = result.gradient.to(product)
            _product_into(gradient_of_states[start:end], back, vectors)
            gradient_of_states[start:end] *= scale
            _add_product(gradient_of_table, back.T, (part * scale).to(product))
        return loss, (gradient_of_states, gradient_of_table) if wants_gradients else ()

    return loss_with_gradients(compute, states, item_table(embedding))


def _product_into(out: Tensor, left: Tensor, right: Tensor) -> None:
    """``out = left @ right``, the product in the type of its factors."""
    if left.dtype == out.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)


def _add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """``out += left @ right``, the product in the type of its factors."""
    if left.dtype == out.dtype:
        out.addmm_(left, right)
    else:
        out += left @ right
