"""Head, middle and tail of a catalogue."""

from __future__ import annotations

import numpy as np

# of the training interactions, what makes the head and the tail of the catalogue
HEAD_PERCENT = 20
TAIL_PERCENT = 20
# names of the groups, in the order of their numbers
GROUPS = ("head", "middle", "tail")


def popularity_groups(popularity: np.ndarray) -> np.ndarray:
    """Head (0), middle (1) or tail (2) of the catalogue for each item, int64 ``[items]``.

    The head are the most popular items, as few as make up 20 % of the training interactions; the tail are the least
    popular, as few as make up 20 %, and all items without an interaction; the middle is what is left (Abdollahpouri et
    al., "User-centered evaluation of popularity bias in recommender systems", UMAP 2021). Equally popular items are
    never parted: the head takes all those that reach into its 20 %, then the tail all those that reach into its own. So
    both may hold more, and no order of the items plays a part.

    Args:
        popularity: training interactions of each item, ``[items]``.
    """
    amounts, place, items = np.unique(popularity, return_inverse=True, return_counts=True)
    held = amounts * items
    up_to = np.cumsum(held)
    total = held.sum()
    below, above = up_to - held, total - up_to
    is_head = 100 * above < HEAD_PERCENT * total
    is_tail = (100 * below < TAIL_PERCENT * total) | (amounts == 0)
    return np.where(is_head, 0, np.where(is_tail, 2, 1))[place]
