"""Which items of a quantised catalogue can be among the k best at all, without scoring the others.

Dynamic pruning after RecJPQPrune (Petrov, Macdonald and Tonellotto, "Efficient Recommendation with Millions of Items
by Dynamic Pruning of Sub-Item Embeddings", SIGIR 2025). The items of the best sub-ids of each split are visited by an
inverted index. An item that was not visited has none of these sub-ids, so its score is at most the sum over splits of
the best sub-id that was left; when that is below the k-th best score found, no item left can be among the k best, not
even by a tie. What differs from the paper: a split is two books joined, whose scores tell items apart better than
those of one book do; and sub-ids are visited in two sweeps, for few array operations instead of a loop. The first
visits few sub-ids and finds a k-th score; the second visits what this score leaves possible, and no more.
"""

from __future__ import annotations

import numpy as np

_SAMPLE = 4096
_FIRST_SWEEP_SHARE = 1 / 1024  # of the items by each split, and
_FIRST_SWEEP_LISTS = 4  # times the wanted items at least: fewer give too low a k-th score
_LARGEST_SHARE = 0.12  # of the items by all splits together: above, scoring every item is no slower


class InvertedIndex:
    """From the sub-ids of each split to the places of the items that have them.

    Args:
        columns: sub-id of each item in each split, uint16 ``[splits, items]``.
    """

    def __init__(self, columns: np.ndarray) -> None:
        splits, items = columns.shape
        self.items = items
        self.places = np.empty((splits, items), dtype=np.int32)
        self.starts = np.zeros((splits, (1 << 16) + 1), dtype=np.int32)
        for split, column in enumerate(columns):
            self.places[split] = np.argsort(column, kind="stable")
            np.cumsum(np.bincount(column, minlength=1 << 16), out=self.starts[split, 1:])
        # Even steps through the catalogue; it lies in the order of ties, which is random as a rule.
        self.sample = np.linspace(0, items - 1, min(_SAMPLE, items)).astype(np.int64)
        self.sample_columns = np.ascontiguousarray(columns[:, self.sample])

    @property
    def nbytes(self) -> int:
        return self.places.nbytes + self.starts.nbytes + self.sample.nbytes + self.sample_columns.nbytes

    def visit(self, sums: list[np.ndarray], thresholds: np.ndarray, barred: np.ndarray) -> np.ndarray:
        """Places of the items with a sub-id above its split's threshold, barred ones left out, int64, ascending."""
        visited = np.zeros(self.items, dtype=bool)
        for split, (scores, threshold) in enumerate(zip(sums, thresholds, strict=True)):
            sub_ids = np.flatnonzero(scores > threshold)
            starts = self.starts[split][sub_ids]
            lengths = self.starts[split][sub_ids + 1] - starts
            ends = np.cumsum(lengths, dtype=np.int64)
            if len(ends):
                runs = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])
                visited[self.places[split][runs]] = True
        visited[barred] = False
        return np.flatnonzero(visited)


def could_be_best(
    sums: list[np.ndarray], columns: np.ndarray, index: InvertedIndex, k: int, barred: np.ndarray
) -> np.ndarray | None:
    """Places of items among which the k best are, for certain and with all that tie with them.

    Args:
        sums: scores of the sub-ids of each split, float32, all finite.
        columns: sub-id of each item in each split, uint16 ``[splits, items]``.
        index: of these columns.
        k: how many are wanted.
        barred: places of items that do not count, int64, ascending.

    Returns:
        int64, ascending; ``None`` where so many would have to be visited that all may as well be scored.
    """
    if index.items <= _SAMPLE:
        return None
    # Depth d visits the sub-ids that score above the d-th best of the sample, in each split: about the same share
    # of the items by each, however the scores of the splits are spread.
    sampled = np.stack(
        [scores.take(column, mode="clip") for scores, column in zip(sums, index.sample_columns, strict=True)]
    )
    levels = -np.sort(-sampled, axis=1)
    # What is left at a depth scores at most its level, in the order in which scores are added: rounding never turns
    # a smaller sum into a larger one.
    bounds = _added(levels)
    deepest = min(int(_LARGEST_SHARE * len(index.sample) / len(sums)), len(index.sample) - 1)
    wanted = -(-_FIRST_SWEEP_LISTS * k * len(index.sample) // index.items)
    first = max(1, round(_FIRST_SWEEP_SHARE * len(index.sample)), wanted)
    if first > deepest:
        return None
    visited = index.visit(sums, levels[:, first], barred)
    if len(visited) < k:
        return None
    scores = _added([taken.take(column[visited], mode="clip") for taken, column in zip(sums, columns, strict=True)])
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    if bounds[first] < kth:
        return visited
    depth = first + int(np.argmax(bounds[first : deepest + 1] < kth))
    if depth == first:
        return None
    return index.visit(sums, levels[:, depth], barred)


def _added(parts: list[np.ndarray] | np.ndarray) -> np.ndarray:
    """Sum from left to right."""
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total
