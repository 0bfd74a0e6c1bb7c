"""Scores of every item: the whole prefix tree, level by level.

For tests, audits and small catalogues: its cost grows with the number of nodes, where that of a beam search grows with
the width. A score is the same sum of log-probabilities, added in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ml.generation.beam_search import PrefixScorer, TrieTensors, checked, children_of

# leaves of all rows that are reached together, each with the room of the largest number of children
_CHILDREN_AT_ONCE = {"cpu": 1 << 22, "cuda": 1 << 26}


@torch.inference_mode()
def exact_log_probabilities(scorer: PrefixScorer, trie: TrieTensors, at_once: int | None = None) -> Tensor:
    """Log-probabilities of all items, float32 ``[rows, items]``; ``-inf`` for an item that cannot be generated.

    The tree is walked for some children of the root after the others, each time from the root, so that neither the
    arrays here nor the states that the scorer keeps of all prefixes take more than some memory.

    Args:
        scorer: of the users, one a row.
        trie: identifiers of all items, on the device of the scorer.
        at_once: children of all rows to look at together, padding included; one child of the root at least is walked
            through.

    Raises:
        ValueError: a log-probability is not a number or above 0.
    """
    scores = torch.empty(scorer.rows, trie.items, device=trie.device)
    if scorer.rows == 0:
        return scores
    at_once = _CHILDREN_AT_ONCE[trie.device.type] if at_once is None else at_once
    leaves = max(1, at_once // (scorer.rows * max(trie.most_children)))
    for first, last in _parts(trie, leaves):
        _walk(scorer, trie, first, last, scores)
    by_item = torch.empty_like(scores)
    by_item[:, trie.leaf_items] = scores
    return by_item


def _parts(trie: TrieTensors, leaves: int) -> Iterator[tuple[int, int]]:
    """Ranges of children of the root with about so many leaves together, or one child with more."""
    bounds = torch.arange(trie.nodes[0] + 1, device=trie.device)
    for offsets in trie.child_offsets[1:]:
        bounds = offsets[bounds]
    ends = bounds.tolist()
    start = 0
    for node in range(1, trie.nodes[0] + 1):
        if node == trie.nodes[0] or ends[node + 1] - ends[start] > leaves:
            yield start, node
            start = node


def _walk(scorer: PrefixScorer, trie: TrieTensors, first: int, last: int, out: Tensor) -> None:
    """Write the scores of the leaves below children ``first`` up to, not including, ``last`` of the root.

    Args:
        scorer: of the users.
        trie: identifiers of all items.
        first: child of the root.
        last: end of the range.
        out: scores of all leaves, ``[rows, items]``.
    """
    rows = scorer.rows
    root = torch.zeros(rows, 1, dtype=torch.int64, device=trie.device)
    children, exists = children_of(trie, 0, root, torch.ones_like(root, dtype=torch.bool))
    steps = checked(scorer.log_probabilities(0, children, exists, None), exists)
    scores = steps[:, 0, first:last]
    beams = torch.zeros(last - first, dtype=torch.int64, device=trie.device)
    for level in range(1, trie.levels):
        nodes = torch.arange(first, last, device=trie.device).expand(rows, -1)
        children, exists = children_of(trie, level, nodes, torch.ones_like(nodes, dtype=torch.bool))
        steps = checked(scorer.log_probabilities(level, children, exists, beams.expand(rows, -1)), exists)
        above = first
        first, last = (int(trie.child_offsets[level][end]) for end in (first, last))
        # which of the prefixes of this call each child continues
        beams = trie.parents[level][first:last] - above
        # the children of all rows are the same, in the order of their nodes
        scores = scores[:, beams] + steps[:, exists[0]]
    out[:, first:last] = scores
