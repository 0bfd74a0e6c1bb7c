"""Exact top-k over the whole catalogue, with one rule for ties that favours no item.

Many recommenders give many items the same score (a Markov chain scores most of the catalogue 0), so the
order of ties decides part of the metrics. Ties are broken by one seeded permutation of the items: equal in
every run and on every machine, and unrelated to the order of the item indices, which is the order of the
identities and so, in public datasets, of the age of the product.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ml.data.sequences import Sequences
from ml.recommender import NO_ITEM, Recommendations

TIE_SEED = 20_180_101
# rows are handled some at a time, so that what is read more than once stays near the processor
_BYTES_AT_ONCE = 1 << 21
# catalogues up to this size are ranked whole: finding what to leave out would cost more than it saves
_RANKED_WHOLE = 1024
# the lowest key: score -inf, last in the tie order
_ABSENT = np.uint64(0x007FFFFF) << np.uint64(32)
_PLACE = np.uint64(0xFFFFFFFF)


def tie_break_order(items: int, seed: int = TIE_SEED) -> np.ndarray:
    """The order in which equally scored items are ranked: a permutation of the items, int64 ``[items]``.

    ``order[0]`` is the item that wins every tie.
    """
    return np.random.default_rng(seed).permutation(items)


@lru_cache(maxsize=4)
def kept_tie_break_order(items: int) -> np.ndarray:
    """:func:`tie_break_order`, made once for each size of a catalogue; it cannot be written to."""
    order = tie_break_order(items)
    order.flags.writeable = False
    return order


def exclude_seen(scores: np.ndarray, histories: Sequences) -> None:
    """Set the score of every item of a row's own history to ``-inf``, in place.

    Args:
        scores: float ``[rows, items]``.
        histories: one history a row.
    """
    if len(histories) != len(scores):
        raise ValueError(f"{len(scores)} rows of scores but {len(histories)} histories")
    scores[histories.row_of_each, histories.items] = -np.inf


def top_k(scores: np.ndarray, k: int, order: np.ndarray) -> Recommendations:
    """The k best items of each row, exactly.

    A row is ranked by score, equal scores by their place in ``order``; items scored ``-inf`` are excluded,
    and a row left with fewer than k items is filled with ``NO_ITEM``.

    Most of a row is read once: the items are dealt into columns, and only the columns with the k highest maxima can
    hold one of the k best items. What these hold is ranked by one integer an item, made of its score and its place.

    Args:
        scores: float32 ``[rows, items]``; not changed.
        k: length of the lists, at least 1.
        order: the permutation of :func:`tie_break_order`, ``[items]``.

    Raises:
        ValueError: a score is not a number, k is below 1, or shapes do not fit.
    """
    rows, items = scores.shape
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if order.shape != (items,):
        raise ValueError(f"the tie order is of {len(order)} items, the scores of {items}")
    # place[item]: higher wins a tie
    place = np.empty(items, dtype=np.uint32)
    place[order] = np.arange(items, 0, -1, dtype=np.uint32) - np.uint32(1)
    top_items = np.full((rows, k), NO_ITEM, dtype=np.int32)
    top_scores = np.full((rows, k), -np.inf, dtype=np.float32)
    depth = min(k, items)
    if depth == 0:
        return Recommendations(top_items, top_scores)
    step = max(1, _BYTES_AT_ONCE // (4 * items))
    for start in range(0, rows, step):
        chunk = slice(start, min(start + step, rows))
        best = _best_keys(np.ascontiguousarray(scores[chunk], dtype=np.float32), depth, place, order)
        chunk_scores = _scores_of(best)
        winners = order[items - 1 - (best & _PLACE).astype(np.int64)]
        top_scores[chunk, :depth] = chunk_scores
        top_items[chunk, :depth] = np.where(chunk_scores == -np.inf, NO_ITEM, winners)
    return Recommendations(top_items, top_scores)


def _best_keys(scores: np.ndarray, depth: int, place: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The ``depth`` highest keys of each row in falling order, uint64 ``[rows, depth]``."""
    items = scores.shape[1]
    # more folds leave fewer maxima to sort and more items to look at in the columns that lead
    folds = round((items / depth) ** 0.5 / 2)
    if items <= _RANKED_WHOLE or folds < 2:
        return _highest_keys(_keys(scores, place), depth)
    maxima = _column_maxima(scores, -(-items // folds))
    # at least depth items reach the limit, so what lies below it is out; sorting is no slower than a partition here,
    # and does not slow down where many maxima are equal
    limit = np.sort(maxima, axis=1)[:, -depth]
    leading = maxima >= limit[:, None]
    tied = np.flatnonzero(np.count_nonzero(leading, axis=1) > depth)
    leading[tied] = maxima[tied] > limit[tied, None]
    best = _highest_keys(_keys_in_columns(scores, leading, depth, place), depth)
    tied = tied[limit[tied] > -np.inf]
    if len(tied):
        best[tied] = _filled_with_tied(best[tied], scores[tied], limit[tied], place, order)
    return best


def _column_maxima(scores: np.ndarray, width: int) -> np.ndarray:
    """Highest score of each column, where item ``i`` is in column ``i % width``: ``[rows, width]``."""
    maxima = scores[:, :width].copy()
    for start in range(width, scores.shape[1], width):
        fold = scores[:, start : start + width]
        np.maximum(maxima[:, : fold.shape[1]], fold, out=maxima[:, : fold.shape[1]])
    _refuse_nan(maxima)  # a maximum with a NaN is one
    return maxima


def _keys_in_columns(scores: np.ndarray, leading: np.ndarray, depth: int, place: np.ndarray) -> np.ndarray:
    """Keys of the items in the leading columns, at most ``depth`` of them a row: uint64 ``[rows, candidates]``.

    Args:
        scores: ``[rows, items]``.
        leading: which columns, bool ``[rows, width]``.
        depth: columns that there is room for; rows with fewer get ``_ABSENT``.
        place: of each item, uint32 ``[items]``.
    """
    (rows, items), width = scores.shape, leading.shape[1]
    counts = np.count_nonzero(leading, axis=1)
    columns = np.full((rows, depth), items)
    columns[np.arange(depth) < counts[:, None]] = np.flatnonzero(leading) - np.repeat(np.arange(rows) * width, counts)
    candidates = (columns[:, None, :] + np.arange(0, items, width)[:, None]).reshape(rows, -1)
    absent = candidates >= items
    candidates[absent] = 0
    keys = _keys(np.take_along_axis(scores, candidates, axis=1), place[candidates])
    keys[absent] = _ABSENT
    return keys


def _filled_with_tied(
    best: np.ndarray, scores: np.ndarray, limit: np.ndarray, place: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """Rows in which more columns than are needed reach the limit: of the items scored so, the first in the tie order.

    Args:
        best: keys in falling order, right as far as they are of scores above the limit, ``[rows, depth]``.
        scores: ``[rows, items]``.
        limit: one score a row, ``[rows]``.
        place: of each item, uint32 ``[items]``.
        order: the tie order.

    Returns:
        The keys, all of them right, ``[rows, depth]``.
    """
    depth = best.shape[1]
    limit_keys = _keys(limit, np.zeros(1, dtype=np.uint32))
    above = np.count_nonzero(best > (limit_keys | _PLACE)[:, None], axis=1)
    wanted = depth - above
    # where so many tie, the first of the order mostly hold enough of them
    first = order[: 4 * depth + 64]
    equal = scores[:, first] == limit[:, None]
    number = np.cumsum(equal, axis=1)
    row, column = np.nonzero(equal & (number <= wanted[:, None]))
    best[row, above[row] + number[row, column] - 1] = limit_keys[row] | place[first[column]]
    short = np.flatnonzero(number[:, -1] < wanted)
    if len(short):
        best[short] = _highest_keys(_keys(scores[short], place), depth)
    return best


def _highest_keys(keys: np.ndarray, depth: int) -> np.ndarray:
    """The ``depth`` highest of each row, in falling order; keys of a row differ, so nothing is left to chance."""
    return np.sort(np.partition(keys, -depth, axis=1)[:, -depth:], axis=1)[:, ::-1]


def _refuse_nan(scores: np.ndarray) -> None:
    if np.isnan(scores).any():
        raise ValueError("a score is not a number (NaN): the recommender that made it has diverged")


def _keys(scores: np.ndarray, place: np.ndarray) -> np.ndarray:
    """One integer for (score, place) that sorts as the pair does, uint64, same shape as the scores."""
    _refuse_nan(scores)
    bits = (scores + np.float32(0)).view(np.uint32)  # + 0 makes -0.0 equal to 0.0
    # IEEE floats sort as sign-and-magnitude integers: flip negatives whole, the others in the sign bit
    negative = bits >> np.uint32(31)
    bits ^= (np.uint32(0) - negative) | np.uint32(0x80000000)
    keys = bits.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= place
    return keys


def _scores_of(keys: np.ndarray) -> np.ndarray:
    """The scores in the upper halves of keys, float32, same shape."""
    bits = (keys >> np.uint64(32)).astype(np.uint32)
    positive = bits >> np.uint32(31)
    bits ^= np.where(positive == 1, np.uint32(0x80000000), np.uint32(0xFFFFFFFF))
    return bits.view(np.float32)
