"""The policy: a model that writes lists, seen as a distribution over the catalogue at each place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.data.sequences import Sequences
from ml.generation.next_k import GeneratedLists, generate_lists, list_states
from ml.models.gptrec import GPTRec
from ml.tasks.batch import history_batch


@dataclass(frozen=True)
class Prompts:
    """What lists are written for, on the device of the model.

    Attributes:
        items: histories, padded at the end, int64 ``[lists, length]``.
        lengths: int64 ``[lists]``, none of them 0.
        marks: which mark follows each history, int64 ``[lists]``; ``None`` for a model without marks.
        hidden: items that may not be listed, bool ``[lists, catalogue]``; ``None`` where all may.
    """

    items: Tensor
    lengths: Tensor
    marks: Tensor | None
    hidden: Tensor | None

    def __len__(self) -> int:
        return len(self.items)

    def part(self, start: int, end: int) -> Prompts:
        """Some of them."""
        return self.take(slice(start, end))

    def take(self, rows: Tensor | slice) -> Prompts:
        """The given rows, in the given order."""
        return Prompts(
            self.items[rows],
            self.lengths[rows],
            None if self.marks is None else self.marks[rows],
            None if self.hidden is None else self.hidden[rows],
        )


def prompts_of(model: GPTRec, histories: Sequences, mark: int | None, exclude_seen: bool) -> Prompts:
    """Histories as the model reads them.

    Args:
        model: gives maximum length, catalogue and device.
        histories: none of them empty.
        mark: that follows the histories; ``None`` for a model without marks.
        exclude_seen: leave the items of the whole history out of the list.
    """
    batch = history_batch(histories, np.arange(len(histories)), model.max_length).to(model.device)
    hidden = None
    if exclude_seen:
        seen = np.zeros((len(histories), model.items), dtype=bool)
        seen[histories.row_of_each, histories.items] = True
        hidden = torch.from_numpy(seen).to(model.device)
    marks = None if mark is None else torch.full_like(batch.lengths, mark)
    return Prompts(batch.items, batch.lengths, marks, hidden)


def write_lists(model: GPTRec, prompts: Prompts, k: int, generator: torch.Generator | None = None) -> GeneratedLists:
    """Lists of k items: sampled from the policy, or without a generator the greedy ones."""
    return generate_lists(model, prompts.items, prompts.lengths, prompts.marks, k, prompts.hidden, generator)


def states_of(model: GPTRec, prompts: Prompts, lists: Tensor) -> Tensor:
    """The states that each place of given lists is chosen by, ``[lists, places, dimensions]``."""
    return list_states(model, prompts.items, prompts.lengths, prompts.marks, lists)


def log_distributions(model: GPTRec, states: Tensor, prompts: Prompts, lists: Tensor) -> Tensor:
    """Log-probability of each item at each place of given lists.

    Args:
        model: scores the items.
        states: what :func:`states_of` returns.
        prompts: say what may be listed.
        lists: int64 ``[lists, places]``, -1 where a list has ended.

    Returns:
        ``[lists, places, catalogue]``, ``-inf`` for items that are hidden or listed before. Where a list has ended all
        items are allowed, so that there are no places without any.
    """
    rows, places = lists.shape
    scores = model.output_embedding.score_all(states.flatten(0, 1)).view(rows, places, -1)
    return scores.masked_fill(not_allowed(prompts.hidden, lists, model.items), -torch.inf).log_softmax(dim=-1)


def not_allowed(hidden: Tensor | None, lists: Tensor, items: int) -> Tensor:
    """Which items may not stand at each place, bool ``[lists, places, items]``."""
    rows, places = lists.shape
    listed = lists >= 0
    before = torch.zeros(rows, places, items, dtype=torch.bool, device=lists.device)
    for place in range(1, places):
        before[:, place] = before[:, place - 1]
        before[:, place].scatter_(1, lists[:, place - 1 : place].clamp(min=0), True)
    if hidden is not None:
        before |= hidden[:, None, :]
    return before & listed[:, :, None]


def chosen(distributions: Tensor, lists: Tensor) -> Tensor:
    """Log-probability of the listed items, ``[lists, places]``; 0 where a list has ended."""
    found = distributions.gather(2, lists.clamp(min=0)[:, :, None]).squeeze(2)
    return found.masked_fill(lists < 0, 0.0)
