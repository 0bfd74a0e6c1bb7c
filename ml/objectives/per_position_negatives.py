"""Losses of targets among negatives of each position's own, a chunk of positions at a time.

Three ways lead to the scores. Where the catalogue is small, the product of the states with the whole table runs near
the arithmetic limit, and scores are looked up in it. Where it is large, fused sums over rows of the table
(``embedding_bag``) fetch what is needed without a copy of the fetched rows. Embeddings without a table score by their
own means, differentiated a chunk at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding
from ml.models.row_table import RowTable
from ml.objectives.chunked_loss import (
    RowLoss,
    chunks,
    item_table,
    loss_type,
    loss_with_gradients,
    product_type,
    rows_at_once,
)

# The product with the whole table does items / candidates times the work, and pays where it does it so many times
# faster; measured on a CPU (equal at about 10, from 64 to 128 dimensions), a guess elsewhere.
_ITEMS_PER_CANDIDATE = {"cpu": 10}
_ITEMS_PER_CANDIDATE_ELSEWHERE = 32
# candidates that are fetched at once: each chunk sorts them and goes over the table's whole gradient
_FETCHED_AT_ONCE = 1 << 20


def loss_among_own(
    row_loss: RowLoss,
    states: Tensor,
    items: Tensor,
    weights: Tensor,
    embedding: ItemEmbedding,
    negatives: Tensor,
    log_weights: float | Tensor = 0.0,
    leave_out_hits: bool = False,
) -> Tensor:
    """Weighted sum of losses of targets among their own negatives.

    Args:
        row_loss: takes scores ``[rows, 1 + negatives]``, those of the target first.
        states: ``[targets, dimensions]``, one for each target.
        items: the targets, int64 ``[targets]``.
        weights: of the losses, ``[targets]``.
        embedding: scores the items.
        negatives: whole numbers ``[targets, negatives]``, with repetitions.
        log_weights: added to the negatives' scores; a number, or one for each item of the catalogue.
        leave_out_hits: score a negative that is the row's target as low as can be.
    """
    kind, product, columns = loss_type(states), product_type(states), negatives.shape[1] + 1
    worth = _ITEMS_PER_CANDIDATE.get(states.device.type, _ITEMS_PER_CANDIDATE_ELSEWHERE)
    scorer: type[_Scorer]
    # of the candidates in a table of these alone, where there is one
    places: Tensor | None = None
    by_rows = type(embedding) is DenseItemEmbedding and embedding.reader is not None
    if embedding.items <= worth * columns and not by_rows:
        inputs: tuple[Tensor, ...] = (item_table(embedding),)
        at_once, scorer = rows_at_once(embedding.items, states.device), _Product
    elif type(embedding) is DenseItemEmbedding:
        table: Tensor = embedding.weight
        if by_rows:
            table, places = embedding.table_for(torch.cat([items[:, None], negatives], dim=1))
        inputs = (table,)
        at_once, scorer = max(1, max(_FETCHED_AT_ONCE, 4 * len(table)) // columns), _Fetched
    else:
        if any(isinstance(each, RowTable) and each.reader is not None for each in embedding.modules()):
            raise RuntimeError(
                f"negatives of each position's own do not go with a table within {type(embedding).__name__} that is "
                'read by its rows: set rows = "all" in the table optimiser of the recipe'
            )
        inputs = tuple(embedding.parameters())
        at_once, scorer = rows_at_once(columns * 8, states.device), _Differentiated

    def compute(wants_gradients: bool, states: Tensor, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        by = scorer(embedding, inputs, product, kind, wants_gradients)
        loss = torch.zeros((), dtype=kind, device=states.device)
        gradient_of_states = torch.empty(states.shape, dtype=kind, device=states.device)
        for start, end in chunks(len(states), at_once):
            candidates = torch.cat([items[start:end, None], negatives[start:end].long()], dim=1)
            scores = by.scores(states[start:end], candidates if places is None else places[start:end])
            if isinstance(log_weights, Tensor):
                scores[:, 1:] += log_weights[candidates[:, 1:]]
            elif log_weights:
                scores[:, 1:] += log_weights
            if leave_out_hits:
                hits = candidates[:, 1:] == candidates[:, :1]
                scores[:, 1:].masked_fill_(hits, torch.finfo(kind).min)
            result = row_loss(scores)
            loss += result.losses @ weights[start:end]
            if wants_gradients:
                scale = weights[start:end] if result.scale is None else weights[start:end] * result.scale
                gradient_of_states[start:end] = by.gradient_of_states(result.gradient, scale[:, None])
        return loss, (gradient_of_states, *by.gradients) if wants_gradients else ()

    return loss_with_gradients(compute, states, *inputs)


class _Scorer(ABC):
    """Scores of a chunk, then the gradient with respect to its states; those of ``inputs`` add up in ``gradients``."""

    def __init__(
        self,
        embedding: ItemEmbedding,
        inputs: tuple[Tensor, ...],
        product: torch.dtype,
        kind: torch.dtype,
        wants_gradients: bool,
    ) -> None:
        self.embedding = embedding
        self.product, self.kind, self.wants_gradients = product, kind, wants_gradients
        self.inputs = inputs
        self.gradients = tuple(torch.zeros(tensor.shape, dtype=kind, device=tensor.device) for tensor in inputs)

    @abstractmethod
    def scores(self, states: Tensor, candidates: Tensor) -> Tensor:
        """``[rows, dimensions]``, int64 ``[rows, columns]`` to ``[rows, columns]`` that may be overwritten."""

    @abstractmethod
    def gradient_of_states(self, gradient: Tensor, scale: Tensor) -> Tensor:
        """From the gradient with respect to the scores returned last, ``[rows, columns]``, and what its rows are to be
        multiplied by, ``[rows, 1]``, to ``[rows, dimensions]``."""


class _Product(_Scorer):
    def scores(self, states: Tensor, candidates: Tensor) -> Tensor:
        self.states, self.candidates = states.to(self.product), candidates
        self.table = self.inputs[0].to(self.product)
        self.all = (self.states @ self.table.T).to(self.kind)
        return self.all.gather(1, candidates)

    def gradient_of_states(self, gradient: Tensor, scale: Tensor) -> Tensor:
        back = self.all.zero_().scatter_add_(1, self.candidates, gradient.mul_(scale)).to(self.product)
        if self.product == self.kind:
            self.gradients[0].addmm_(back.T, self.states)
        else:
            self.gradients[0].add_(back.T @ self.states)
        return back @ self.table


class _Fetched(_Scorer):
    def scores(self, states: Tensor, candidates: Tensor) -> Tensor:
        self.states, self.candidates = states.to(self.kind), candidates
        # the derivative of a weighted sum of rows with respect to the weights is the rows' products with the state
        weights = torch.zeros(candidates.shape, dtype=self.kind, device=states.device, requires_grad=True)
        table = self.inputs[0].detach().to(self.kind)
        with torch.enable_grad():
            summed = F.embedding_bag(candidates, table, mode="sum", per_sample_weights=weights)
        return torch.autograd.grad(summed, weights, self.states)[0]

    def gradient_of_states(self, gradient: Tensor, scale: Tensor) -> Tensor:
        table = self.inputs[0].detach().to(self.kind).requires_grad_()
        with torch.enable_grad():
            summed = F.embedding_bag(
                self.candidates, table, mode="sum", per_sample_weights=gradient.mul_(scale).contiguous()
            )
        self.gradients[0].add_(torch.autograd.grad(summed, table, self.states)[0])
        return summed.detach()


class _Differentiated(_Scorer):
    def scores(self, states: Tensor, candidates: Tensor) -> Tensor:
        self.states = states.detach().to(self.kind).requires_grad_()
        with torch.set_grad_enabled(self.wants_gradients):
            self.scored = self.embedding.score_each(self.states, candidates)
        return self.scored.detach().clone()

    def gradient_of_states(self, gradient: Tensor, scale: Tensor) -> Tensor:
        parameters = tuple(self.embedding.parameters())
        of_states, *of_parameters = torch.autograd.grad(
            self.scored, (self.states, *parameters), gradient.mul_(scale), allow_unused=True
        )
        for total, one in zip(self.gradients, of_parameters, strict=True):
            if one is not None:
                total.add_(one)
        return of_states
