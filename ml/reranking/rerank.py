"""Re-ranking candidates greedily: place after place, the best balance of relevance and of what the goal gains.

Each method chooses the candidate with the highest ``(1 - tradeoff) * relevance + tradeoff * gain``; they differ in the
gain (:mod:`ml.reranking.gains`). Relevance is the candidate's score, scaled to ``[0, 1]`` in its row, so that one
tradeoff means the same for recommenders of any scale. Ties go to the candidate that stands first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ml.beyond_accuracy.goals import GoalOnData
from ml.data.sequences import Sequences
from ml.fusion.normalisation import normalised
from ml.limits import processors
from ml.recommender import NO_ITEM, Recommendations
from ml.reranking.gains import (
    Calibration,
    Fixed,
    Gain,
    Gathered,
    ItemLabels,
    ItemVectors,
    MaximalMarginalRelevance,
    MeanDistance,
    Serendipity,
)
from ml.reranking.methods import check_method, check_tradeoff

# what the candidates of a block take: near the processor, and enough of them for one call of numpy
_BYTES_AT_ONCE = 1 << 21
# gains are rounded to multiples of this: what differs by less differs by the order of summation
_GRAIN = np.float32(2.0**-20)
# floats of a candidate beside those of its vector
_OTHER_FLOATS = 8

# the gains of a block: its candidates int [rows, candidates], its histories, and which rows of them
_Gains = Callable[[np.ndarray, Sequences, slice], Gain]


def rerank(
    candidates: Recommendations,
    k: int,
    method: str,
    tradeoff: float,
    on: GoalOnData,
    histories: Sequences,
    *,
    popularity: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """The k candidates of each row that a method chooses, in the order in which it does.

    With the tradeoff 0 these are the first k candidates, in their order. The lists for a smaller k are the beginnings
    of those for a larger one.

    Args:
        candidates: best first; no item twice in a row.
        k: length of the lists, at least 1.
        method: one of :data:`ml.reranking.methods.METHODS`.
        tradeoff: from 0 (relevance alone) to 1 (the goal alone).
        on: the goal on the items; its vectors are read, or the values of ``popularity``.
        histories: of the same users, oldest item first, ``[rows]``.
        popularity: popularity percentile of each item, float ``[items]``, for the method ``sog``.
        threads: number of threads, by default that of the processors. It changes no bit of the result.

    Returns:
        Items, int32 ``[rows, k]``; ``NO_ITEM`` where a row has fewer than k candidates.

    Raises:
        ValueError: the method does not exist, cannot serve the goal or lacks the popularity; the tradeoff is outside
            [0, 1]; a score is not finite; or the shapes do not fit.
    """
    return lists_at(
        candidates, [tradeoff], k, method, on, histories, popularity=popularity, threads=threads
    )[tradeoff]  # fmt: skip


def lists_at(
    candidates: Recommendations,
    tradeoffs: Iterable[float],
    k: int,
    method: str,
    on: GoalOnData,
    histories: Sequences,
    *,
    popularity: np.ndarray | None = None,
    threads: int | None = None,
) -> dict[float, np.ndarray]:
    """The lists of :func:`rerank` at many tradeoffs, which share what does not depend on the tradeoff.

    Returns:
        Items, int32 ``[rows, k]``, by tradeoff.

    Raises:
        ValueError: as :func:`rerank`.
    """
    tradeoffs = list(dict.fromkeys(tradeoffs))
    for tradeoff in tradeoffs:
        check_tradeoff(tradeoff)
    check_method(method, (on.goal.name,))
    rows, width = candidates.items.shape
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if len(histories) != rows:
        raise ValueError(f"{len(histories)} histories for {rows} rows of candidates: give one a row")
    gains, floats = _gains_of(method, on, popularity)
    step = max(1, _BYTES_AT_ONCE // (4 * max(1, width) * (floats + _OTHER_FLOATS)))
    lists = {tradeoff: np.full((rows, k), NO_ITEM, dtype=np.int32) for tradeoff in tradeoffs}

    def choose(start: int) -> None:
        block = slice(start, min(start + step, rows))
        own = Recommendations(candidates.items[block], candidates.scores[block])
        relevance = normalised(own, "min_max")[0].astype(np.float32)
        gain = gains(own.items, histories, block)
        for tradeoff, found in lists.items():
            _choose(own.items, relevance, gain, tradeoff, found[block])

    with ThreadPoolExecutor(threads or processors()) as pool:
        # exhausted, so that an error is raised
        for _ in pool.map(choose, range(0, rows, step)):
            pass
    return lists


def _choose(items: np.ndarray, relevance: np.ndarray, gain: Gain, tradeoff: float, lists: np.ndarray) -> None:
    """Fill the lists of a block.

    Args:
        items: candidates, int ``[rows, candidates]``.
        relevance: float32, of the same shape.
        gain: of the same candidates.
        tradeoff: see :func:`rerank`.
        lists: int ``[rows, k]``, written to.
    """
    if not items.size:
        return
    base = np.float32(1 - tradeoff) * relevance
    base[items == NO_ITEM] = -np.inf
    weight = np.float32(tradeoff) * _GRAIN
    all_rows = np.arange(len(items))
    gain.start()
    places = min(lists.shape[1], items.shape[1])
    for place in range(places):
        total = gain.now()
        total /= _GRAIN
        np.rint(total, out=total)
        total *= weight
        total += base
        columns = total.argmax(axis=1)
        left = base[all_rows, columns] > -np.inf
        rows = all_rows
        if not left.all():
            rows, columns = all_rows[left], columns[left]
        lists[rows, place] = items[rows, columns]
        base[rows, columns] = -np.inf
        if place + 1 < places:
            gain.add(columns, rows)


def _gains_of(method: str, on: GoalOnData, popularity: np.ndarray | None) -> tuple[_Gains, int]:
    """How the gains of a block are made, and how many floats they take for each candidate."""
    if method == "calibration":
        labels = ItemLabels.of_popularity(_values_of(on)) if on.vectors is None else ItemLabels.of_vectors(on.vectors)
        return lambda items, histories, rows: Calibration(items, labels, labels.distributions(histories, rows)), 8
    if on.vectors is None:
        # little popularity is what is gained
        values = (1 - _values_of(on)).astype(np.float32)
        return lambda items, histories, rows: Fixed(_at(values, items)), 1
    vectors = ItemVectors.of(on.vectors)
    floats = vectors.floats_of_candidate()
    if method == "mmr":
        return lambda items, histories, rows: MaximalMarginalRelevance(vectors.gather(items)), floats
    if method == "greedy" and on.goal.kind == "novelty":
        return lambda items, histories, rows: Fixed(
            _distance_to_history(vectors.gather(items), histories, rows)
        ), floats
    if method == "greedy":
        return lambda items, histories, rows: MeanDistance(vectors.gather(items)), floats
    if popularity is None:
        raise ValueError("the method sog needs the popularity percentile of each item")
    unpopular = (1 - np.asarray(popularity)).astype(np.float32)

    def serendipity(items: np.ndarray, histories: Sequences, rows: slice) -> Gain:
        gathered = vectors.gather(items)
        fixed = _distance_to_history(gathered, histories, rows) + _at(unpopular, items)
        return Serendipity(MeanDistance(gathered), fixed)

    return serendipity, floats


def _values_of(on: GoalOnData) -> np.ndarray:
    assert on.values is not None  # a goal without vectors has values
    return on.values


def _at(values: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The value of each candidate; that of any item where there is none."""
    return values[np.where(items == NO_ITEM, 0, items)]


def _distance_to_history(candidates: Gathered, histories: Sequences, rows: slice) -> np.ndarray:
    """Mean distance to the known interactions of the history, float32 ``[rows, candidates]``; 0 where either is not
    known."""
    offsets = np.asarray(histories.offsets[rows.start : rows.stop + 1])
    items = np.asarray(histories.items[offsets[0] : offsets[-1]])
    is_known = candidates.of.known[items]
    ends = np.concatenate([[0], np.cumsum(is_known)])[offsets - offsets[0]]
    counts = np.diff(ends)
    some = counts > 0
    means = np.zeros((len(counts), candidates.of.vectors.shape[1]), np.float32)
    if some.any():
        # without empty rows, where reduceat would take the first item of the next one
        found = candidates.of.vectors[items[is_known]]
        means[some] = np.add.reduceat(found, ends[:-1][some], axis=0) / counts[some, None]
    distances = np.maximum(1 - candidates.products(means), 0)
    return np.where(candidates.known & some[:, None], distances, np.float32(0))
