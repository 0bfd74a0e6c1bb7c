"""Beam search over the identifiers of a catalogue, for a batch of users at once.

Each level is one gather of the children of all kept prefixes, one call of the scorer, and one selection of the best;
there is no loop over users or beams. Only prefixes of the trie are followed, and a prefix is known by its node rather
than by its last code, so every beam ends at an item, and no two at the same one.

Scores are sums of log-probabilities in float32. They never rise along a path, so the best score that was cut at any
level bounds the scores of all items that were not found: if the k-th best item found is above it, the k best items
found are the k best of the whole catalogue (:attr:`Beams.cut`).

Equal scores are decided by :func:`ml.retrieval.top_k.tie_break_order`, also where a prefix is cut: a prefix has the
place of its first item in this order. Which other rows are in the batch, and how it is padded, makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ml.codes.trie import Trie
from ml.recommender import NO_ITEM
from ml.retrieval.top_k import tie_break_order

# children of kept prefixes of all rows of a search, padding included
_CHILDREN_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 25}
_MOST_ROWS = 256
# log-probabilities may exceed 0 by rounding, not by more
_ROUNDING = 1e-3


class PrefixScorer(Protocol):
    """Log-probabilities of continuing prefixes, for a batch of users.

    One pass over the levels is one search: levels are asked for in order from 0, and level 0 begins a new search.

    Attributes:
        rows: number of users.
    """

    rows: int

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        """Log-probability of each child, given its prefix.

        Args:
            level: of the children, from 0.
            children: nodes of the trie's level ``level``: all children of each kept prefix, int64
                ``[rows, beams, choices]``. Any valid node where ``exists`` is False.
            exists: whether there is such a child, bool, same shape. A prefix without children is padding.
            beams: which of the prefixes of the call before each prefix continues, int64 ``[rows, beams]``; ``None``
                at level 0, where the empty prefix is the only one. The code it was continued with is that of its
                children's parent.

        Returns:
            Float ``[rows, beams, choices]``, at most 0. Values where ``exists`` is False are ignored.
        """


@dataclass(frozen=True)
class TrieTensors:
    """A trie as tensors of one device.

    Attributes:
        parents: see :class:`ml.codes.trie.Trie`.
        child_offsets: see there.
        leaf_items: see there.
        nodes: number of nodes of each level.
        most_children: for each level the largest number of nodes that share a parent.
        priorities: of each node of each level, higher wins a tie: the number of items that come after the first of its
            items in the order of ties, int32 ``[nodes of the level]``.
    """

    parents: tuple[Tensor, ...]
    child_offsets: tuple[Tensor, ...]
    leaf_items: Tensor
    nodes: tuple[int, ...]
    most_children: tuple[int, ...]
    priorities: tuple[Tensor, ...]

    @classmethod
    def of(cls, trie: Trie, device: torch.device | str = "cpu") -> TrieTensors:
        """The tensors of a trie.

        Args:
            trie: identifiers of all items.
            device: where the search takes place.
        """
        priority = np.empty(trie.items, dtype=np.int32)
        priority[tie_break_order(trie.items)] = np.arange(trie.items, dtype=np.int32)[::-1]
        levels = [priority[trie.leaf_items]]
        for offsets in trie.child_offsets[:0:-1]:
            levels.append(np.maximum.reduceat(levels[-1], offsets[:-1]))

        def tensors(arrays: tuple[np.ndarray, ...]) -> tuple[Tensor, ...]:
            return tuple(torch.from_numpy(np.ascontiguousarray(each)).to(device) for each in arrays)

        return cls(
            parents=tensors(trie.parents),
            child_offsets=tensors(trie.child_offsets),
            leaf_items=tensors((trie.leaf_items,))[0],
            nodes=trie.nodes,
            most_children=trie.most_children,
            priorities=tensors(tuple(levels[::-1])),
        )

    @property
    def items(self) -> int:
        return len(self.leaf_items)

    @property
    def levels(self) -> int:
        return len(self.nodes)

    @property
    def device(self) -> torch.device:
        return self.leaf_items.device


@dataclass(frozen=True)
class Beams:
    """Items found by a beam search, best first.

    Attributes:
        items: int64 ``[rows, width]``, no item twice in a row; ``NO_ITEM`` where there are no more.
        scores: log-probabilities of the items, float32 ``[rows, width]``, never rising within a row; ``-inf`` beside
            ``NO_ITEM``.
        cut: the best score that was cut at any level, ``-inf`` where nothing was, float32 ``[rows]``. No item that is
            missing from a row has a higher score.
    """

    items: Tensor
    scores: Tensor
    cut: Tensor


@torch.inference_mode()
def beam_search(scorer: PrefixScorer, trie: TrieTensors, width: int) -> Beams:
    """The best items that can be reached by keeping the ``width`` best prefixes at every level.

    Items and prefixes with log-probability ``-inf`` are never kept.

    Args:
        scorer: of the users, one a row.
        trie: identifiers of all items, on the device of the scorer.
        width: prefixes kept at each level, at least 1. No item is missed if it is the number of items.

    Raises:
        ValueError: ``width`` is below 1, or a log-probability is not a number or above 0.
    """
    if width < 1:
        raise ValueError(f"a beam has a width of at least 1, not {width}")
    device = trie.device
    nodes = torch.zeros(scorer.rows, 1, dtype=torch.int64, device=device)
    scores = torch.zeros(scorer.rows, 1, device=device)
    cut = torch.full((scorer.rows,), -torch.inf, device=device)
    beams = None
    for level in range(trie.levels):
        children, exists = children_of(trie, level, nodes, scores > -torch.inf)
        steps = checked(scorer.log_probabilities(level, children, exists, beams), exists)
        # rounding never lifts a sum above the prefix it continues, since no step is above 0
        candidates = (scores[:, :, None] + steps).flatten(1)
        keys = _keys(candidates, trie.priorities[level][children].flatten(1))
        kept = min(width, keys.shape[1])
        best = keys.topk(min(kept + 1, keys.shape[1]), dim=1).indices
        if best.shape[1] > kept:
            cut = torch.maximum(cut, candidates.gather(1, best[:, kept:]).squeeze(1))
        best = best[:, :kept]
        beams = torch.div(best, children.shape[2], rounding_mode="floor")
        nodes = children.flatten(1).gather(1, best)
        scores = candidates.gather(1, best)
    items = torch.where(scores > -torch.inf, trie.leaf_items[nodes], NO_ITEM)
    missing = width - items.shape[1]
    return Beams(
        torch.nn.functional.pad(items, (0, missing), value=NO_ITEM),
        torch.nn.functional.pad(scores, (0, missing), value=-torch.inf),
        cut,
    )


def rows_at_once(trie: TrieTensors, width: int) -> int:
    """How many users are searched for together, so that the children of their prefixes stay within some memory.

    Args:
        trie: identifiers of all items.
        width: prefixes kept at each level.
    """
    prefixes = (1, *(min(width, nodes) for nodes in trie.nodes[:-1]))
    children = max(beams * most for beams, most in zip(prefixes, trie.most_children, strict=True))
    return min(_MOST_ROWS, max(1, _CHILDREN_AT_ONCE[trie.device.type] // children))


def children_of(trie: TrieTensors, level: int, nodes: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The children of nodes, in one gather.

    Args:
        trie: identifiers of all items.
        level: of the children.
        nodes: of the level above, int64 ``[rows, beams]``; zeros at level 0.
        wanted: nodes whose children are asked for, bool, same shape.

    Returns:
        Nodes of the level, int64 ``[rows, beams, choices]``, and which of them are children: the others fill rows with
        fewer children than the largest.
    """
    offsets = trie.child_offsets[level]
    first = offsets[nodes]
    counts = torch.where(wanted, offsets[nodes + 1] - first, 0)
    place = torch.arange(max(1, int(counts.max())) if counts.numel() else 1, device=nodes.device)
    children = (first[:, :, None] + place).clamp_(max=trie.nodes[level] - 1)
    return children, place < counts[:, :, None]


def checked(steps: Tensor, exists: Tensor) -> Tensor:
    """Log-probabilities as float32 of at most 0, ``-inf`` where there is no child.

    Raises:
        ValueError: one is not a number, or above 0 by more than rounding.
    """
    steps = torch.where(exists, steps.float(), -torch.inf)
    # a maximum of numbers that are none is none
    highest = float(steps.max()) if steps.numel() else 0.0
    if not highest <= _ROUNDING:
        what = "is not a number (NaN): the model has diverged" if np.isnan(highest) else f"is {highest:g}, above 0"
        raise ValueError(f"a log-probability {what}")
    return steps.clamp_(max=0)


def _keys(scores: Tensor, priorities: Tensor) -> Tensor:
    """One integer for (score, priority) that sorts as the pair does, int64.

    Args:
        scores: float32, at most 0.
        priorities: int32 from 0, same shape.
    """
    # without their sign, the bits of floats of at most 0 sort downwards; 0.0 and -0.0 become equal
    keys = scores.view(torch.int32).bitwise_and(0x7FFFFFFF).long()
    return keys.neg_().bitwise_left_shift_(32).bitwise_or_(priorities)
