"""Measures of recommendation lists, as functions of arrays.

Lists are item indices, int ``[rows, k]``, best first; :data:`ml.recommender.NO_ITEM` fills lists that are shorter. An
item occurs at most once in a list. Distances between items are ``1 - cosine`` of their vectors: float
``[items, dimensions]``, rows of length 1, or 0 for items of which nothing is known. Such items take part in no
distance: pairs that hold one are dropped.

Measures that are a sum over the places of a list come in two forms: ``..._gains`` has the contribution of each place,
float64 ``[rows, k]``, and the measure itself is their sum, ``nan`` where it is undefined.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml.data.sequences import Sequences
from ml.recommender import NO_ITEM

# floats of gathered vectors that are held at a time
_FLOATS_AT_ONCE = 1 << 22
_LENGTH_TOLERANCE = 1e-3


def ndcg(lists: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Normalised discounted cumulative gain with one relevant item a list, float64 ``[rows]``.

    ``1 / log2(rank + 1)`` where the target is in the list, else 0 (Järvelin and Kekäläinen, ACM TOIS 20, 2002).

    Args:
        lists: int ``[rows, k]``.
        targets: held-out item of each row, int ``[rows]``.

    Raises:
        ValueError: there is not one target a list.
    """
    lists, targets = np.asarray(lists), np.asarray(targets)
    if targets.shape != lists.shape[:1]:
        raise ValueError(f"targets of shape {targets.shape} for {len(lists)} lists: give one a list")
    hits = (lists == targets[:, None]) & (lists != NO_ITEM)
    return hits @ (1 / np.log2(np.arange(lists.shape[1]) + 2))


def intra_list_distance(lists: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Mean distance of two items of a list, over its pairs of known items, float64 ``[rows]``.

    ``2 / (n (n - 1)) * sum_{i < j} d_ij`` for n items of which something is known; ``nan`` for fewer than two
    (intra-list diversity: Ziegler et al., WWW 2005; Zhang and Hurley, RecSys 2008).

    Args:
        lists: int ``[rows, k]``.
        vectors: float ``[items, dimensions]``, rows of length 1 or 0.

    Raises:
        ValueError: vectors are of another length, or lists hold other items.
    """
    known = known_items(lists, vectors)
    return np.where(known.sum(axis=1) > 1, intra_list_distance_gains(lists, vectors).sum(axis=1), np.nan)


def intra_list_distance_gains(lists: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """What each place adds to :func:`intra_list_distance`, float64 ``[rows, k]``: ``2 / (n (n - 1)) * sum_{j < i}
    d_ij``; 0 for items of which nothing is known and in lists with fewer than two others.

    Raises:
        ValueError: vectors are of another length, or lists hold other items.
    """
    lists, vectors = np.asarray(lists), checked_vectors(vectors)
    known = known_items(lists, vectors)
    sums = np.zeros(lists.shape)
    for rows in _blocks(np.full(len(lists), vectors.shape[1])):
        above = np.zeros((rows.stop - rows.start, vectors.shape[1]), np.float32)
        count = np.zeros(rows.stop - rows.start)
        for place in range(lists.shape[1]):
            is_known = known[rows, place]
            own = vectors[np.where(is_known, lists[rows, place], 0)]
            own[~is_known] = 0
            # of unit vectors: the sum of 1 - cosine over the known items above
            distances = count - np.einsum("rd,rd->r", own, above)
            sums[rows, place] = np.where(is_known, np.maximum(distances, 0), 0)
            above += own
            count += is_known
    total = known.sum(axis=1, keepdims=True)
    return 2 * sums / np.maximum(total * (total - 1), 1)


def novelty_to_history(lists: np.ndarray, vectors: np.ndarray, histories: Sequences) -> np.ndarray:
    """Mean distance of the items of a list to the items of the user's history, float64 ``[rows]``.

    Over all pairs of a known listed item and a known interaction of the history (expected profile distance without
    rank discount: Vargas and Castells, RecSys 2011); ``nan`` where either side has none.

    Args:
        lists: int ``[rows, k]``.
        vectors: float ``[items, dimensions]``, rows of length 1 or 0.
        histories: of the same users, ``[rows]``.

    Raises:
        ValueError: vectors are of another length, lists hold other items, or there is not one history a list.
    """
    gains, is_defined = _novelty_gains(lists, vectors, histories)
    return np.where(is_defined, gains.sum(axis=1), np.nan)


def novelty_gains(lists: np.ndarray, vectors: np.ndarray, histories: Sequences) -> np.ndarray:
    """What each place adds to :func:`novelty_to_history`, float64 ``[rows, k]``: the mean distance of its item to the
    history, divided by the number of known items in the list; 0 where undefined.

    Raises:
        ValueError: vectors are of another length, lists hold other items, or there is not one history a list.
    """
    return _novelty_gains(lists, vectors, histories)[0]


def mean_value(lists: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean value of the items of a list, float64 ``[rows]``; ``nan`` for empty lists.

    Of :func:`popularity_percentiles` it is the popularity of a list; of ``is it in the long tail`` the long-tail share.

    Args:
        lists: int ``[rows, k]``.
        values: of each item, ``[items]``.

    Raises:
        ValueError: lists hold other items.
    """
    lists = _checked_lists(lists, len(values))
    return np.where((lists != NO_ITEM).any(axis=1), mean_value_gains(lists, values).sum(axis=1), np.nan)


def mean_value_gains(lists: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What each place adds to :func:`mean_value`, float64 ``[rows, k]``: the value of its item divided by the length of
    the list.

    Raises:
        ValueError: lists hold other items.
    """
    lists = _checked_lists(lists, len(values))
    is_item = lists != NO_ITEM
    if not is_item.any():
        return np.zeros(lists.shape)
    found = np.asarray(values, dtype=np.float64)[np.where(is_item, lists, 0)]
    return np.where(is_item, found, 0) / np.maximum(is_item.sum(axis=1, keepdims=True), 1)


def popularity_percentiles(interactions: np.ndarray) -> np.ndarray:
    """Share of the items with fewer interactions than each item, items with equally many counted half, float64
    ``[items]``. Its mean over the catalogue is one half.

    Args:
        interactions: of each item, ``[items]``.
    """
    ordered = np.sort(interactions)
    below, up_to = np.searchsorted(ordered, interactions, "left"), np.searchsorted(ordered, interactions, "right")
    return (below + up_to) / (2 * max(1, len(interactions)))


def exposures(lists: np.ndarray, items: int) -> np.ndarray:
    """In how many lists each item of the catalogue is, int64 ``[items]``."""
    lists = _checked_lists(lists, items)
    return np.bincount(lists[lists != NO_ITEM], minlength=items)


def coverage(exposed: np.ndarray) -> float | None:
    """Share of the catalogue that is in at least one list; ``None`` for an empty catalogue (aggregate diversity, as a
    share: Adomavicius and Kwon, IEEE TKDE 24, 2012).

    Args:
        exposed: of :func:`exposures`, ``[items]``.
    """
    return float(np.count_nonzero(exposed) / len(exposed)) if len(exposed) else None


def gini(amounts: np.ndarray) -> float | None:
    """Gini coefficient of amounts that are not negative, ``[holders]``; ``None`` where all are 0.

    Half the mean difference between two holders, relative to the mean: 0 where all hold equally much, ``1 - 1 /
    holders`` where one holds everything.
    """
    amounts = np.sort(amounts)
    total = amounts.sum()
    if total == 0:
        return None
    holders = len(amounts)
    weights = 2 * np.arange(1, holders + 1, dtype=np.int64) - holders - 1
    return float((weights * amounts).sum() / (holders * total))


def known_items(lists: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Which places hold an item of which something is known, bool ``[rows, k]``.

    Raises:
        ValueError: lists hold other items.
    """
    lists = _checked_lists(lists, len(vectors))
    # one more, of which nothing is known, for empty places: -1 is its index
    is_known = np.append((np.asarray(vectors) != 0).any(axis=1), False)
    return is_known[lists]


def checked_vectors(vectors: np.ndarray) -> np.ndarray:
    """The same vectors as float32 ``[items, dimensions]``.

    Raises:
        ValueError: they are not a matrix, or their rows are not of length 1 or 0.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"vectors of shape {vectors.shape}: give one row an item")
    squares = np.einsum("id,id->i", vectors, vectors)
    if (np.abs(squares[squares != 0] - 1) > _LENGTH_TOLERANCE).any():
        raise ValueError("vectors must have length 1, or 0 for items of which nothing is known: scale their rows")
    return vectors


def _novelty_gains(lists: np.ndarray, vectors: np.ndarray, histories: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """The gains, and in which rows the measure is defined, bool ``[rows]``."""
    lists, vectors = np.asarray(lists), checked_vectors(vectors)
    if len(histories) != len(lists):
        raise ValueError(f"{len(histories)} histories for {len(lists)} lists: give one a list")
    known = known_items(lists, vectors)
    gains, is_defined = np.zeros(lists.shape), np.zeros(len(lists), bool)
    for rows in _blocks((1 + histories.lengths) * vectors.shape[1]):
        means, is_defined[rows] = _history_means(histories, rows, vectors)
        for place in range(lists.shape[1]):
            own = vectors[np.where(known[rows, place], lists[rows, place], 0)]
            gains[rows, place] = np.maximum(1 - np.einsum("rd,rd->r", own, means), 0)
    gains[~known | ~is_defined[:, None]] = 0
    total = known.sum(axis=1)
    return gains / np.maximum(total, 1)[:, None], (total > 0) & is_defined


def _history_means(histories: Sequences, rows: slice, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean vector of the known interactions of each history, float32 ``[rows, dimensions]``, and which histories have
    one, bool ``[rows]``."""
    starts = np.asarray(histories.offsets[rows.start : rows.stop + 1], dtype=np.int64)
    found = vectors[histories.items[starts[0] : starts[-1]]]
    is_known = found.any(axis=1)
    ends = np.concatenate([[0], np.cumsum(is_known)])[starts - starts[0]]
    counts = np.diff(ends)
    means = np.zeros((len(counts), vectors.shape[1]), np.float32)
    some = counts > 0
    if some.any():
        # without empty rows, whose place reduceat would fill with the first item of the next one
        means[some] = np.add.reduceat(found[is_known], ends[:-1][some], axis=0) / counts[some, None]
    return means, some


def _blocks(floats: np.ndarray) -> Iterator[slice]:
    """Consecutive rows whose floats fit into memory together; a larger row is a block of its own.

    Args:
        floats: that each row needs, ``[rows]``.
    """
    filled = np.cumsum(floats, dtype=np.int64)
    start = 0
    while start < len(floats):
        before = filled[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(filled, before + _FLOATS_AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop


def _checked_lists(lists: np.ndarray, items: int) -> np.ndarray:
    lists = np.asarray(lists)
    if lists.ndim != 2:
        raise ValueError(f"lists of shape {lists.shape}: give one row a list")
    if lists.size and not (lists.min() >= NO_ITEM and lists.max() < items):
        raise ValueError(
            f"lists hold items from {lists.min()} to {lists.max()}, and the catalogue has {items} items "
            f"(0 to {items - 1}; {NO_ITEM} for none)"
        )
    return lists
