"""Next-K: a list is written item by item, and each choice depends on the history and on the items chosen before.

Petrov and Macdonald, "Generative Sequential Recommendation with GPTRec", arXiv 2306.11114. A choice is made among the
items that are not hidden (those of the history, if they are to be left out) and not yet in the list: probabilities are
those of the softmax over these items alone. They are the same, up to rounding, whether the list is written step by step
from a cache of keys and values (:func:`generate_lists`), or a whole list is read at once
(:func:`list_log_probabilities`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ml.models.gpt2 import Continuation
from ml.models.gptrec import GPTRec
from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding
from ml.recommender import NO_ITEM
from ml.retrieval.top_k import tie_break_order

# scores are looked at in blocks of this many items: the highest score of a block is found many times faster than the
# place of the highest score of a row
_BLOCK = 64
# on a processor, scores of a chunk of the catalogue: 1 MiB of float32
_SCORES_AT_ONCE, _LEAST_WIDTH = 1 << 18, 1 << 10
# the score of an item that is not allowed, where -inf would make products that are not numbers
_HIDDEN = -1e30


@dataclass(frozen=True)
class GeneratedLists:
    """Lists written item by item.

    Attributes:
        items: int64 ``[batch, k]``, in the order in which they were chosen, no item twice in a list; ``NO_ITEM`` where
            no item was allowed any more.
        log_probabilities: of each choice among the items that were still allowed, float ``[batch, k]``, at most 0; 0
            beside ``NO_ITEM``.
    """

    items: Tensor
    log_probabilities: Tensor


def generate_lists(
    model: GPTRec,
    items: Tensor,
    lengths: Tensor,
    marks: Tensor | None,
    k: int,
    hidden: Tensor | None,
    generator: torch.Generator | None = None,
) -> GeneratedLists:
    """Write a list for each history, with a cache of keys and values: a history is read once.

    Without a generator the most probable item is chosen in each place, the first in
    :func:`ml.retrieval.top_k.tie_break_order` among equals; with one, an item is drawn by its probability. Dropout is
    off, whatever mode the model is in, and no gradients are kept.

    Args:
        model: with ``lists = "next_k"``.
        items: histories, int64 ``[batch, length]``, oldest item first, padded at the end with any item index. Of a
            history longer than the model's ``max_length`` the most recent items are read.
        lengths: of the histories, int64 ``[batch]``, at least 1.
        marks: which mark follows each history, int64 ``[batch]``; ``None`` for a model without marks.
        k: length of the lists, from 1 to the model's ``list_length``.
        hidden: items that must not be listed, bool ``[batch, catalogue]``; ``None`` to allow all.
        generator: draws the items, on any device.

    Raises:
        ValueError: a history is empty, k or a mark is out of range, marks are missing or not wanted, or a score is not
            a number.
    """
    return generate_with_first_step(model, items, lengths, marks, k, hidden, generator, first_step=False)[0]


@torch.no_grad()
def generate_with_first_step(
    model: GPTRec,
    items: Tensor,
    lengths: Tensor,
    marks: Tensor | None,
    k: int,
    hidden: Tensor | None,
    generator: torch.Generator | None = None,
    first_step: bool = True,
) -> tuple[GeneratedLists, Tensor | None]:
    """:func:`generate_lists`, and the log-probabilities of all items in the first place of the list, ``-inf`` for those
    that are hidden, float ``[batch, catalogue]``; ``None`` without ``first_step``."""
    if not 1 <= k <= model.list_length:
        raise ValueError(f"this model writes lists of 1 to {model.list_length} items, not {k}")
    training = model.training
    model.eval()
    try:
        return _written(model, items, lengths, marks, k, hidden, generator, first_step)
    finally:
        model.train(training)


def _written(
    model: GPTRec,
    items: Tensor,
    lengths: Tensor,
    marks: Tensor | None,
    k: int,
    hidden: Tensor | None,
    generator: torch.Generator | None,
    first_step: bool,
) -> tuple[GeneratedLists, Tensor | None]:
    sequences, ends, first = model.sequences(items, lengths, marks)
    rows, device = len(sequences), sequences.device
    states, cache = model.trunk.read(model.embedded(sequences, ends))
    states = states[torch.arange(rows, device=device), first]
    visible = torch.arange(sequences.shape[1], device=device) <= first[:, None]
    continuation = Continuation(model.trunk, cache, visible, k - 1)

    choices = _Choices(model.output_embedding, rows, hidden)
    listed = torch.full((rows, k), NO_ITEM, dtype=torch.int64, device=device)
    log_probabilities = states.new_zeros(rows, k)
    first_log_probabilities = None
    for step in range(k):
        if step:
            tokens = model.vectors(listed[:, step - 1].clamp(min=0))
            # behind the history and its mark, at the same place for all
            position = model.positions[model.max_length + (marks is not None) + step - 1]
            states = continuation.extend(tokens + position)
        choices.score(states)
        if step == 0 and first_step:
            first_log_probabilities = choices.log_probabilities()
        listed[:, step], log_probabilities[:, step] = choices.choose(generator)
    return GeneratedLists(listed, log_probabilities), first_log_probabilities


class _Choices:
    """Scores of all items, among which one is chosen for each row, again and again.

    Choosing costs little more than the product of states and item vectors: scores lie in chunks that stay in a
    processor's cache, are overwritten in every step, and are read as few times as can be. Items stand in the order of
    ties, so that the first of the highest scores is the one to choose.

    Args:
        embedding: scores items.
        rows: number of lists.
        hidden: items that must not be chosen, bool ``[rows, items]``; ``None`` to allow all.
    """

    def __init__(self, embedding: ItemEmbedding, rows: int, hidden: Tensor | None) -> None:
        self.embedding = embedding
        weights = next(embedding.parameters())
        device = weights.device
        self.order, self.place = _order(embedding.items, device)
        self.weights = (
            embedding.weight.index_select(0, self.order) if isinstance(embedding, DenseItemEmbedding) else None
        )
        at_once = max(_LEAST_WIDTH, _SCORES_AT_ONCE // max(1, rows)) if device.type == "cpu" else embedding.items
        chunks = -(-embedding.items // at_once)
        self.width = -(-embedding.items // (chunks * _BLOCK)) * _BLOCK
        chunks = -(-embedding.items // self.width)
        # what fills the last chunk stays as it is and is never chosen
        self.scores = weights.new_full((chunks, rows, self.width), -torch.inf)
        self.probabilities = torch.empty_like(self.scores)
        self.every = torch.arange(rows, device=device)
        # items that are left to each row, and the places in the scores of those that are not
        self.left = torch.full((rows,), embedding.items, device=device)
        self.closed: list[Tensor] = []
        if hidden is not None:
            hidden_rows, hidden_items = hidden.nonzero(as_tuple=True)
            self.closed.append(self._flat(hidden_rows, self.place[hidden_items]))
            self.left -= torch.bincount(hidden_rows, minlength=rows)

    def _flat(self, rows: Tensor, places: Tensor) -> Tensor:
        """Indices into the scores laid flat."""
        chunk = torch.div(places, self.width, rounding_mode="floor")
        return (chunk * len(self.every) + rows) * self.width + places - chunk * self.width

    def score(self, states: Tensor) -> None:
        """Score all items that are left by the states of the rows, ``[rows, dimensions]``.

        Raises:
            ValueError: a score is not a number.
        """
        items = self.embedding.items
        if self.weights is None:
            ordered = F.pad(
                self.embedding.score_all(states).index_select(1, self.order),
                (0, len(self.scores) * self.width - items),
                value=-torch.inf,
            )
            self.scores.copy_(ordered.view(len(states), len(self.scores), self.width).transpose(0, 1))
        else:
            for chunk, start in zip(self.scores, range(0, items, self.width), strict=True):
                weights = self.weights[start : start + self.width]
                torch.mm(states, weights.T, out=chunk[:, : len(weights)])
        if self.closed:
            self.scores.view(-1).index_fill_(0, torch.cat(self.closed), -torch.inf)
        # within each chunk; its highest probability is 1 / sum(exp(score - highest score))
        torch.softmax(self.scores, dim=2, out=self.probabilities)
        self.blocks = self.scores.unflatten(2, (-1, _BLOCK)).amax(dim=3)
        of_chunks = self.blocks.amax(dim=2)
        self.highest = of_chunks.amax(dim=0)
        sums = (of_chunks - self.highest) - self.probabilities.amax(dim=2).log()
        # a chunk without an item that is left
        sums.masked_fill_(of_chunks == -torch.inf, -torch.inf)
        self.log_chunks = sums
        self.normaliser = sums.logsumexp(dim=0)
        if bool((self.normaliser.isnan() & (self.left > 0)).any()):
            raise ValueError("a score is not a number (NaN): the model has diverged")

    def log_probabilities(self) -> Tensor:
        """Of all items, by their index, ``-inf`` for those that are not left: ``[rows, items]``."""
        found = (self.scores - self.highest[:, None]).sub_(self.normaliser[:, None])
        found.masked_fill_((self.left <= 0)[:, None], -torch.inf)
        return found.transpose(0, 1).flatten(1).index_select(1, self.place)

    def choose(self, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """One item for each row, which is closed from now on, int64 ``[rows]``, and its log-probability; ``NO_ITEM``
        and 0 where none is left."""
        if generator is None:
            blocks = self.blocks.transpose(0, 1).flatten(1)
            block = blocks.argmax(dim=1)
            chunk = torch.div(block, self.blocks.shape[2], rounding_mode="floor")
            block = block - chunk * self.blocks.shape[2]
            of_block = self.scores.unflatten(2, (-1, _BLOCK))[chunk, self.every, block]
            within = block * _BLOCK + of_block.argmax(dim=1)
        else:
            chunk = drawn((self.log_chunks - self.normaliser).exp().T, generator)
            within = drawn(self.probabilities[chunk, self.every], generator)
        none_left = self.left <= 0
        scores = self.scores[chunk, self.every, within]
        # rounding may lead above 0
        found = ((scores - self.highest) - self.normaliser).clamp(max=0).masked_fill_(none_left, 0.0)
        places = (chunk * self.width + within).masked_fill_(none_left, 0)
        self.closed.append(self._flat(self.every, places))
        self.left -= 1
        return self.order[places].masked_fill(none_left, NO_ITEM), found


@lru_cache(maxsize=8)
def _order(items: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The order of ties, and the place of each item in it, both int64 ``[items]``."""
    order = torch.from_numpy(tie_break_order(items)).to(device)
    place = torch.empty_like(order)
    place[order] = torch.arange(items, device=device)
    return order, place


def drawn(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """A place of each row, drawn by its probability, int64 ``[rows]``; any place where these are not numbers."""
    cumulative = probabilities.cumsum(dim=1)
    total = cumulative[:, -1]
    at = torch.rand(len(total), generator=generator, device=generator.device).to(total.device) * total
    # below the total, or rounding could lead behind the last item; a place of probability 0 ends where it begins
    at = torch.minimum(at, torch.nextafter(total, torch.zeros_like(total)))
    place = torch.searchsorted(cumulative, at[:, None], right=True).squeeze(1)
    return place.clamp(max=probabilities.shape[1] - 1)


def list_states(model: GPTRec, items: Tensor, lengths: Tensor, marks: Tensor | None, lists: Tensor) -> Tensor:
    """The states that choose each item of given lists, from one pass over histories and lists.

    Args:
        model: with ``lists = "next_k"``; in training mode with dropout.
        items: as for :func:`generate_lists`.
        lengths: as there.
        marks: as there.
        lists: int64 ``[batch, k]``; ``NO_ITEM`` behind the last item of a shorter list.

    Returns:
        ``[batch, k, dimensions]`` with gradients; those that choose ``NO_ITEM`` mean nothing.

    Raises:
        ValueError: a history is empty, the lists are too long, or marks are missing, not wanted or out of range.
    """
    sequences, ends, first = model.sequences(items, lengths, marks, lists.clamp(min=0))
    places = first[:, None] + torch.arange(lists.shape[1], device=sequences.device)
    return model.trunk.states_at(model.embedded(sequences, ends), places)


def list_log_probabilities(
    model: GPTRec, items: Tensor, lengths: Tensor, marks: Tensor | None, lists: Tensor, hidden: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the choices that make given lists, and entropies of these choices, with gradients.

    Args:
        model: with ``lists = "next_k"``. In evaluation mode the log-probabilities are those of :func:`generate_lists`.
        items: as for :func:`generate_lists`.
        lengths: as there.
        marks: as there.
        lists: int64 ``[batch, k]``; ``NO_ITEM`` behind the last item of a shorter list.
        hidden: as there.

    Returns:
        Both ``[batch, k]``, among the items allowed in each place, and 0 beside ``NO_ITEM``. The log-probability of an
        item that was not allowed is ``-inf``. Entropies are natural logarithms.

    Raises:
        ValueError: as :func:`list_states`.
    """
    states = list_states(model, items, lengths, marks, lists)
    scores = model.output_embedding.score_all(states.flatten(0, 1)).view(*lists.shape, model.items)
    # at least float32, also where mixed precision made products of less
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    written = lists.clamp(min=0)
    blocked = torch.zeros_like(scores, dtype=torch.bool)
    if hidden is not None:
        blocked |= hidden[:, None]
    for place in range(1, lists.shape[1]):
        blocked[:, place].scatter_(1, written[:, :place], True)
    exists = lists != NO_ITEM
    log_probabilities, entropies = _MaskedChoices.apply(scores.masked_fill(blocked, _HIDDEN), written)
    not_allowed = blocked.gather(2, written[..., None]).squeeze(2)
    log_probabilities = log_probabilities.masked_fill(not_allowed, -torch.inf)
    return log_probabilities.masked_fill(~exists, 0.0), entropies.masked_fill(~exists, 0.0)


class _MaskedChoices(torch.autograd.Function):
    """Log-probabilities of choices and entropies, of scores ``[..., items]`` and choices int64 ``[...]``.

    Keeps one tensor of the size of the scores, where autograd would keep several, and goes through it some rows at a
    time, which stay in a processor's cache.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, choices: Tensor) -> tuple[Tensor, Tensor]:
        log_probabilities, entropies = torch.empty_like(scores), scores.new_empty(choices.shape)
        for rows in _rows_at_once(scores):
            found = torch.log_softmax(scores.flatten(0, -2)[rows], dim=1, out=log_probabilities.flatten(0, -2)[rows])
            entropies.view(-1)[rows] = found.exp().mul_(found).sum(dim=1).neg_()
        ctx.save_for_backward(log_probabilities, choices, entropies)
        return log_probabilities.gather(-1, choices[..., None]).squeeze(-1), entropies

    @staticmethod
    def backward(ctx: Any, of_choices: Tensor, of_entropies: Tensor) -> tuple[Tensor, None]:
        log_probabilities, choices, entropies = ctx.saved_tensors
        gradient = torch.empty_like(log_probabilities)
        columns = [each.flatten()[:, None] for each in (entropies, of_entropies, of_choices)]
        # d log p(c) / d s_j = [j = c] - p_j;  d H / d s_j = -p_j (log p_j + H)
        for rows in _rows_at_once(log_probabilities):
            entropy, of_entropy, of_choice = (each[rows] for each in columns)
            found = log_probabilities.flatten(0, -2)[rows]
            inner = torch.add(found, entropy, out=gradient.flatten(0, -2)[rows])
            inner.mul_(of_entropy).add_(of_choice).mul_(found.exp()).neg_()
        return gradient.scatter_add_(-1, choices[..., None], of_choices[..., None]), None


def _rows_at_once(scores: Tensor) -> Iterator[slice]:
    """Rows of scores ``[..., items]``, all but the last dimension laid flat, as many as are looked at at a time."""
    rows, items = scores.numel() // scores.shape[-1], scores.shape[-1]
    step = max(1, _SCORES_AT_ONCE // items) if scores.device.type == "cpu" else max(1, rows)
    for start in range(0, rows, step):
        yield slice(start, start + step)
