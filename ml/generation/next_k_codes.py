"""Next-K over codes: a list is written item by item, and each item code by code.

As :mod:`ml.generation.next_k` for models whose tokens are codes (GPTRec with sub-identifiers, arXiv 2306.11114). Only
prefixes of items that are still allowed are continued: a code is chosen among those that lead to an item which is
neither hidden nor listed, and its probability is that of the softmax over these codes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ml.generation.beam_search import TrieTensors, children_of
from ml.generation.next_k import GeneratedLists, drawn
from ml.models.generating_model import NodeCodes
from ml.models.gpt2 import Continuation
from ml.models.gptrec_codes import GPTRecCodes
from ml.recommender import NO_ITEM


@torch.no_grad()
def generate_code_lists(
    model: GPTRecCodes,
    items: Tensor,
    lengths: Tensor,
    k: int,
    hidden: Tensor | None,
    generator: torch.Generator | None = None,
) -> GeneratedLists:
    """Write a list for each history, with a cache of keys and values.

    Without a generator the most probable code is chosen at each level, and among equals the one that leads to the first
    item in :func:`ml.retrieval.top_k.tie_break_order`; this need not lead to the most probable item. With a generator,
    codes are drawn by their probabilities. Dropout is off, whatever mode the model is in.

    Args:
        model: with ``lists = "next_k"``.
        items: histories, int64 ``[batch, length]``, oldest item first, padded at the end with any item index, at most
            ``max_length`` of them.
        lengths: of the histories, int64 ``[batch]``, at least 1.
        k: length of the lists, from 1 to the model's ``list_length``.
        hidden: items that must not be listed, bool ``[batch, catalogue]``; ``None`` to allow all.
        generator: draws the codes, on any device.

    Returns:
        Items, and the log-probability of each as the sum over its codes.

    Raises:
        ValueError: a history is empty or k is out of range.
    """
    if not model.writes_lists:
        raise ValueError('this model takes its lists from a beam search; lists are written with lists = "next_k"')
    if not 1 <= k <= model.list_length:
        raise ValueError(f"this model writes lists of 1 to {model.list_length} items, not {k}")
    if len(lengths) and int(lengths.min()) < 1:
        raise ValueError("lists follow histories of at least one item, and one of these is empty")
    training = model.training
    model.eval()
    try:
        return _written(model, items, lengths, k, hidden, generator)
    finally:
        model.train(training)


def _written(
    model: GPTRecCodes,
    items: Tensor,
    lengths: Tensor,
    k: int,
    hidden: Tensor | None,
    generator: torch.Generator | None,
) -> GeneratedLists:
    rows, device, levels = len(items), items.device, model.levels
    trie = TrieTensors.of(model.trie, device)
    codes = NodeCodes(model.trie, device)
    every = torch.arange(rows, device=device)
    states, cache = model.trunk.read(model.embedded(items, lengths))
    ends = lengths * levels
    visible = torch.arange(states.shape[1], device=device) < ends[:, None]
    states = states[every, ends - 1]
    continuation = Continuation(model.trunk, cache, visible, k * levels - 1)

    open_items = _open_items(trie, rows, hidden)
    listed = torch.full((rows, k), NO_ITEM, dtype=torch.int64, device=device)
    log_probabilities = states.new_zeros(rows, k)
    tokens = 0
    code = torch.zeros(rows, dtype=torch.int64, device=device)
    for place in range(k):
        left = open_items[0].sum(dim=1) > 0
        node, path = torch.zeros(rows, 1, dtype=torch.int64, device=device), []
        for level in range(levels):
            if tokens:
                before = model.tokens[level - 1]
                # behind the history, at the same place for all
                position = model.positions[model.max_length * levels + tokens - 1]
                states = continuation.extend(F.embedding(code, before) + position)
            children, exists = (
                part.squeeze(1) for part in children_of(trie, level, node, torch.ones_like(node, dtype=torch.bool))
            )
            allowed = exists & (open_items[level].gather(1, children) > 0)
            logits = F.linear(states, model.tokens[level]).gather(1, codes.of(level, children))
            scores = logits.masked_fill(~allowed, -torch.inf).log_softmax(dim=1)
            choice = (
                _first_of_highest(scores, trie.priorities[level][children])
                if generator is None
                else drawn(scores.exp(), generator)
            )
            choice = choice.masked_fill(~left, 0)[:, None]
            log_probabilities[:, place] += scores.gather(1, choice).squeeze(1).masked_fill(~left, 0.0)
            node = children.gather(1, choice)
            path.append(node)
            code, tokens = codes.of(level, node.squeeze(1)), tokens + 1
        listed[:, place] = trie.leaf_items[node.squeeze(1)].masked_fill(~left, NO_ITEM)
        for level, nodes in enumerate(path):
            open_items[level].scatter_add_(1, nodes, -left[:, None].int())
    return GeneratedLists(listed, log_probabilities)


def _open_items(trie: TrieTensors, rows: int, hidden: Tensor | None) -> list[Tensor]:
    """How many items that may be listed each node of each level leads to, int32 ``[rows, nodes of the level]``."""
    leaves = torch.ones(rows, trie.items, dtype=torch.int32, device=trie.device)
    if hidden is not None:
        leaves -= hidden[:, trie.leaf_items].int()
    found = [leaves]
    for level in range(trie.levels - 1, 0, -1):
        above = torch.zeros(rows, trie.nodes[level - 1], dtype=torch.int32, device=trie.device)
        found.append(above.index_add_(1, trie.parents[level], found[-1]))
    return found[::-1]


def _first_of_highest(scores: Tensor, priorities: Tensor) -> Tensor:
    """The place of the highest score of each row, that of the highest priority among equals, int64 ``[rows]``."""
    highest = scores == scores.amax(dim=1, keepdim=True)
    return torch.where(highest, priorities, -1).argmax(dim=1)
