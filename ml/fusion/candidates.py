"""The lists of several recommenders side by side: one column a candidate, one value a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.top_k import tie_break_order

# a part is a bit of this, see ``Candidates.listed_by``
_BITS = np.uint64
MOST_PARTS = 64


@dataclass(frozen=True)
class Candidates:
    """The union of the items that the parts list for a row, with the score of each part.

    Columns stand in the order of ties of ``ml.retrieval.top_k``, so that of two equal scores the left one wins.

    Attributes:
        items: item indices, int32 ``[rows, width]``; ``NO_ITEM`` fills rows with fewer candidates.
        values: normalised scores, float32 ``[parts, rows, width]``; a part's floor where it does not list an item.
        listed_by: bit ``p`` is set where part ``p`` lists the item, uint64 ``[rows, width]``.
    """

    items: np.ndarray
    values: np.ndarray
    listed_by: np.ndarray


def candidates_of(
    lists: Sequence[Recommendations], values: Sequence[np.ndarray], floors: Sequence[np.ndarray], items: int
) -> Candidates:
    """Put the lists of the parts side by side.

    Args:
        lists: of each part, of equal rows; no item twice in a row.
        values: normalised scores of each part, float ``[rows, length of its list]``.
        floors: what a part gives to an item that it does not list, float ``[rows]`` each.
        items: size of the catalogue.

    Raises:
        ValueError: there are more than 64 parts.
    """
    if len(lists) > MOST_PARTS:
        raise ValueError(f"{len(lists)} parts: at most {MOST_PARTS} can be put side by side")
    place = np.empty(items + 1, dtype=np.int64)
    place[tie_break_order(items)] = np.arange(items)
    place[items] = items  # NO_ITEM, as index -1, is the last: filling comes after every item
    listed = np.concatenate([part.items for part in lists], axis=1)
    rows, columns = listed.shape
    # one number for (place, column), so that plain sorting brings equal items together and keeps their origin
    keys = np.sort(place[listed] * columns + np.arange(columns), axis=1)
    places, origin = np.divmod(keys, max(1, columns))
    is_new = np.ones((rows, columns), dtype=bool)
    is_new[:, 1:] = places[:, 1:] != places[:, :-1]
    slots = np.cumsum(is_new, axis=1) - 1
    is_item = places < items
    width = int((is_new & is_item).sum(axis=1).max(initial=0))
    row = np.broadcast_to(np.arange(rows)[:, None], (rows, columns))
    found = np.full((rows, width), NO_ITEM, dtype=np.int32)
    sorted_items = np.take_along_axis(listed, origin, axis=1)
    found[row[is_item], slots[is_item]] = sorted_items[is_item]

    aligned = np.empty((len(lists), rows, width), dtype=np.float32)
    listed_by = np.zeros((rows, width), dtype=_BITS)
    start = 0
    for part, (own, floor) in enumerate(zip(values, floors, strict=True)):
        aligned[part] = floor[:, None]
        end = start + own.shape[1]
        own_places = is_item & (start <= origin) & (origin < end)
        at = (row[own_places], slots[own_places])
        aligned[part][at] = own[row[own_places], origin[own_places] - start]
        listed_by[at] |= _BITS(1 << part)
        start = end
    return Candidates(found, aligned, listed_by)


def weighted_scores(candidates: Candidates, weights: np.ndarray) -> np.ndarray:
    """Sum of the parts' values by their weights, float32 ``[rows, width]``.

    A part of weight 0 is no part: an item that only such parts list has ``-inf``, as filling has.
    """
    scores = np.zeros(candidates.items.shape, dtype=np.float32)
    counted = 0
    for part, weight in enumerate(weights):
        if weight > 0:
            scores += np.float32(weight) * candidates.values[part]
            counted |= 1 << part
    scores[(candidates.listed_by & _BITS(counted)) == 0] = -np.inf
    return scores
