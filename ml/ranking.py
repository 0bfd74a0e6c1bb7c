"""Exact top-k over the whole catalogue, with one rule for ties that favours no item.

Many recommenders give many items the same score (a Markov chain scores most of the catalogue 0), so the
order of ties decides part of the metrics. Ties are broken by one seeded permutation of the items: equal in
every run and on every machine, and unrelated to the order of the item indices, which is the order of the
identities and so, in public datasets, of the age of the product.
"""

from __future__ import annotations

import numpy as np

from ml.data.training_set import Sequences
from ml.recommender import NO_ITEM, Recommendations

TIE_SEED = 20_180_101
_KEYS_AT_ONCE = 1 << 22  # 32 MiB of keys, so that they stay near the caches


def tie_break_order(items: int, seed: int = TIE_SEED) -> np.ndarray:
    """The order in which equally scored items are ranked: a permutation of the items, int64 ``[items]``.

    ``order[0]`` is the item that wins every tie.
    """
    return np.random.default_rng(seed).permutation(items)


def exclude_seen(scores: np.ndarray, histories: Sequences) -> None:
    """Set the score of every item of a row's own history to ``-inf``, in place.

    Args:
        scores: float ``[rows, items]``.
        histories: one history a row.
    """
    if len(histories) != len(scores):
        raise ValueError(f"{len(scores)} rows of scores but {len(histories)} histories")
    scores[np.repeat(np.arange(len(histories)), histories.lengths), histories.items] = -np.inf


def top_k(scores: np.ndarray, k: int, order: np.ndarray) -> Recommendations:
    """The k best items of each row, exactly.

    A row is ranked by score, equal scores by their place in ``order``; items scored ``-inf`` are excluded,
    and a row left with fewer than k items is filled with ``NO_ITEM``.

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
    step = max(1, _KEYS_AT_ONCE // items)
    for start in range(0, rows, step):
        chunk = slice(start, min(start + step, rows))
        keys = _keys(np.asarray(scores[chunk], dtype=np.float32), place)
        # keys of a row are all different, so partition and sort leave nothing to chance
        best = np.sort(np.partition(keys, items - depth, axis=1)[:, items - depth :], axis=1)[:, ::-1]
        chunk_scores = _scores_of(best)
        winners = order[items - 1 - (best & np.uint64(0xFFFFFFFF)).astype(np.int64)]
        top_scores[chunk, :depth] = chunk_scores
        top_items[chunk, :depth] = np.where(chunk_scores == -np.inf, NO_ITEM, winners)
    return Recommendations(top_items, top_scores)


def _keys(scores: np.ndarray, place: np.ndarray) -> np.ndarray:
    """One integer for (score, place) that sorts as the pair does, uint64 ``[rows, items]``."""
    if np.isnan(scores).any():
        raise ValueError("a score is not a number (NaN): the recommender that made it has diverged")
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
