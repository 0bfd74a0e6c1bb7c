"""nDCG@10 of recommenders that are given only the last items of each history, compared with the whole history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.evaluation.intervals import Interval, bootstrap_interval
from ml.recommender import NO_ITEM, Recommender

CUTS = (1, 2, 5)
_K = 10
_CELLS_AT_ONCE = 1 << 22


def sample_of(training_set: TrainingSet, users: int, seed: int) -> np.ndarray:
    """Rows of so many test cases at most, int64, ascending."""
    cases = len(training_set.test_users)
    return np.sort(np.random.default_rng(seed).permutation(cases)[:users])


@dataclass(frozen=True)
class Dependence:
    """nDCG@10 of one recommender by how much of a history it is given.

    Attributes:
        title: of the recommender.
        cuts: how many of the last items.
        values: with each cut, by its bootstrap.
        differences: to the whole history, paired by user.
        longer: share of the users whose history is longer than each cut.
        whole: with the whole history.
    """

    title: str
    cuts: tuple[int, ...]
    values: tuple[Interval, ...]
    differences: tuple[Interval, ...]
    longer: tuple[float, ...]
    whole: Interval

    def kept(self, cut: int) -> float | None:
        """Share of the nDCG@10 that is left with the last ``cut`` items; ``None`` where there was none."""
        return self.values[self.cuts.index(cut)].mean / self.whole.mean if self.whole.mean > 0 else None


def measure_dependence(
    title: str,
    recommender: Recommender,
    training_set: TrainingSet,
    rows: np.ndarray,
    exclude_seen: bool,
    seed: int,
    cuts: Sequence[int] = CUTS,
) -> Dependence:
    """Rank the given test cases by the whole history and by its last items alone, fitting nothing again.

    Where seen items are excluded, those of the whole history are, whatever of it the recommender is given. A history
    that is no longer than a cut has the same value with it as without.
    """
    histories = training_set.histories("test").take(rows)
    targets = np.asarray(training_set.test_targets, dtype=np.int64)[rows]
    whole = _ndcg(recommender.recommend(histories, _K, exclude_seen).items, targets)
    values, longer = [], []
    for cut in cuts:
        value = whole.copy()
        cut_rows = np.flatnonzero(histories.lengths > cut)
        if len(cut_rows):
            value[cut_rows] = _ndcg_of_cut(recommender, histories.take(cut_rows), targets[cut_rows], cut, exclude_seen)
        values.append(value)
        longer.append(len(cut_rows) / max(1, len(rows)))
    return Dependence(
        title,
        tuple(cuts),
        tuple(bootstrap_interval(value, seed) for value in values),
        tuple(bootstrap_interval(value - whole, seed) for value in values),
        tuple(longer),
        bootstrap_interval(whole, seed),
    )


def last_of(histories: Sequences, count: int) -> Sequences:
    """The last ``count`` items of each row, all of a shorter one.

    Users are omitted: what a model learnt about a user in training would bring the whole history back.
    """
    lengths = np.minimum(histories.lengths, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    starts = np.repeat(histories.offsets[1:] - lengths - offsets[:-1], lengths)
    places = starts + np.arange(offsets[-1])
    times = None if histories.times is None else np.asarray(histories.times[places], dtype=np.int64)
    return Sequences(np.asarray(histories.items[places], dtype=np.int32), offsets, times=times)


def _ndcg_of_cut(
    recommender: Recommender, histories: Sequences, targets: np.ndarray, cut: int, exclude_seen: bool
) -> np.ndarray:
    if not exclude_seen:
        return _ndcg(recommender.recommend(last_of(histories, cut), _K, False).items, targets)
    values = np.empty(len(histories))
    # the items that the recommender is not given are left out of its list here, so it has to be longer by them
    order = np.argsort(histories.lengths, kind="stable")
    start = 0
    while start < len(order):
        width = int(histories.lengths[order[start]])
        rows = order[start : start + max(1, _CELLS_AT_ONCE // (_K + 2 * width))]
        # histories of a block differ by no more than a factor of two
        rows = rows[histories.lengths[rows] <= 2 * width]
        block = histories.take(rows)
        depth = _K + int(block.lengths.max())
        found = recommender.recommend(last_of(block, cut), depth, True).items
        values[rows] = _ndcg(_without_seen(found, block), targets[rows])
        start += len(rows)
    return values


def _without_seen(items: np.ndarray, histories: Sequences) -> np.ndarray:
    """The first ten items of each list that are not in the history of its row, ``NO_ITEM`` left out too."""
    base = int(max(items.max(initial=0), histories.items.max(initial=0))) + 2
    row = histories.row_of_each
    seen = row * base + histories.items
    keys = np.arange(len(items))[:, None] * base + np.maximum(items, 0)
    kept = ~np.isin(keys, seen) & (items != NO_ITEM)
    place = np.cumsum(kept, axis=1)
    kept &= place <= _K
    answer = np.full((len(items), _K), NO_ITEM, dtype=np.int64)
    where, column = np.nonzero(kept)
    answer[where, place[where, column] - 1] = items[where, column]
    return answer


def _ndcg(items: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """nDCG@10 of each row's list for its one target, float64 ``[rows]``."""
    hit = items == targets[:, None]
    return np.where(hit.any(axis=1), 1 / np.log2(2 + hit.argmax(axis=1)), 0.0)
