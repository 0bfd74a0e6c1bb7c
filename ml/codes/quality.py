"""The quality of codes: how evenly they are used, how well they distinguish items, and what they know of the items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.codes.codes import CODES_PER_BOOK

if TYPE_CHECKING:
    from ml.data.training_set import Sequences


def quality_report(values: np.ndarray, histories: Sequences, book_sizes: Sequence[int] | None = None) -> dict[str, Any]:
    """How well an assignment spreads the items, and what it knows of them.

    Args:
        values: uint8 or uint16 ``[items, books]``.
        histories: the training histories.
        book_sizes: codes of each book; 256 where it is not given.

    Returns:
        JSON values.

        ``by_book``, for each book: the codes in use, the share of the book they are, the entropy of their use in
        bits (8 where all of 256 are used equally), the items of the fullest code, and Spearman's rank correlation
        between an item's code and its number of training interactions: near 1 or -1 where the book says little but how
        popular an item is; ``None`` where either is constant.

        Of whole tuples: how many are distinct, the items that share theirs with another, and the largest group of
        such items.

        ``items_never_seen_in_training``: items in no training history, about which the assignment knows nothing.

        ``neighbours_sharing_a_code``: of two different items that stand side by side in a history, the share of books
        in which they have the same code; ``sharing_a_code_by_chance`` is what two different items have that are drawn
        as often as they occur. The ratio of the two tells how much of the order the codes know. ``None`` where no
        history holds two different items side by side.
    """
    items, books = values.shape
    training_counts = np.bincount(histories.items, minlength=items)
    by_book = []
    for book, size in enumerate(book_sizes or [CODES_PER_BOOK] * books):
        counts = np.bincount(values[:, book], minlength=size)
        shares = counts[counts > 0] / items
        by_book.append(
            {
                "book": book,
                "codes_used": int((counts > 0).sum()),
                "share_used": float((counts > 0).mean()),
                "entropy_bits": float(-(shares * np.log2(shares)).sum()),
                "largest_code_items": int(counts.max()),
                "popularity_rank_correlation": _rank_correlation(values[:, book], training_counts),
            }
        )
    groups = np.unique(values, axis=0, return_counts=True)[1] if items else np.zeros(0, dtype=np.int64)
    together, by_chance = _sharing(values, histories, training_counts)
    return {
        "items": items,
        "books": books,
        "by_book": by_book,
        "distinct_codes": len(groups),
        "items_in_collisions": int(groups[groups > 1].sum()),
        "largest_collision": int(groups.max(initial=0)),
        "items_never_seen_in_training": int((training_counts == 0).sum()),
        "neighbours_sharing_a_code": together,
        "sharing_a_code_by_chance": by_chance,
    }


def _sharing(values: np.ndarray, histories: Sequences, counts: np.ndarray) -> tuple[float | None, float | None]:
    """Share of books in which two different items have one code: of neighbours, and of items drawn by count."""
    left, right = np.asarray(histories.items[:-1]), np.asarray(histories.items[1:])
    pairs = left != right
    starts = np.asarray(histories.offsets[1:-1])
    starts = starts[(starts > 0) & (starts < len(histories.items))]
    pairs[starts - 1] = False  # the last item of a user and the first of the next
    if not pairs.any():
        return None, None
    together = float((values[left[pairs]] == values[right[pairs]]).mean())
    shares = counts / counts.sum()
    same_item = float((shares**2).sum())
    same_code = [float((np.bincount(book, weights=shares) ** 2).sum()) for book in values.T]
    return together, float((np.mean(same_code) - same_item) / (1 - same_item))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's, equal values at the mean of their ranks."""
    ranks = []
    for values in (first, second):
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        if len(counts) < 2:
            return None
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[place])
    return float(np.asarray(np.corrcoef(np.stack(ranks)))[0, 1])
