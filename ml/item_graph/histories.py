"""Reading histories many rows at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml.data.item_index import check_items
from ml.data.sequences import Sequences
from ml.recommender import NO_ITEM, Recommendations

# What a block of rows may take: 64 MiB of float32 scores.
_CELLS_AT_ONCE = 1 << 24
_MOST_ROWS_AT_ONCE = 4096


def check_request(histories: Sequences, k: int, items: int) -> None:
    """Refuse what no recommender can answer.

    Raises:
        ValueError: k is below 1, or a history holds an item that is not of the catalogue.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    check_items(histories, items)


def last_items(histories: Sequences, place: int = 1) -> np.ndarray:
    """The item at position ``place`` from the end of each history (1: the last one), int64 ``[rows]``.

    ``NO_ITEM`` where a history is shorter than that.
    """
    found = np.full(len(histories), NO_ITEM, dtype=np.int64)
    exists = histories.lengths >= place
    found[exists] = np.asarray(histories.items)[histories.offsets[1:][exists] - place]
    return found


def in_blocks(
    histories: Sequences,
    k: int,
    width: int,
    recommend: Callable[[Sequences], Recommendations],
    order: np.ndarray | None = None,
) -> Recommendations:
    """Answer block after block of rows, so that memory stays bounded.

    Args:
        histories: ``[rows]``.
        k: length of the lists.
        width: cells that a row needs at most.
        recommend: answers one block; what it says of a row must not depend on the rows beside it.
        order: a permutation of the rows to visit them in; the answer is in the order of ``histories`` all the
            same.
    """
    rows = len(histories)
    order = np.arange(rows) if order is None else order
    items = np.empty((rows, k), dtype=np.int32)
    scores = np.empty((rows, k), dtype=np.float32)
    step = max(1, min(_MOST_ROWS_AT_ONCE, _CELLS_AT_ONCE // max(1, width)))
    for start in range(0, rows, step):
        block = order[start : start + step]
        answer = recommend(histories.take(block))
        items[block], scores[block] = answer.items, answer.scores
    return Recommendations(items, scores)
