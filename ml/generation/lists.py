"""Lists of the k best items, from what a beam search finds.

Items of a history are left out at the leaves, since other items share every prefix above; the beam is wide enough to
find k items beside them. A list is certified if its last item scores higher than anything that was cut
(:attr:`ml.generation.beam_search.Beams.cut`), or if nothing was cut: it is then the list that scoring every item gives.
The other rows are searched again with twice the width, up to a limit. The certificate is sufficient, not necessary: a
list without it can be exact too.

Certificates hold up to rounding: where a scorer computes slightly different numbers for another number of prefixes,
items whose scores differ by no more than that may change places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np

from ml.baselines.popularity import fill_by_popularity, popularity_order, popularity_shares
from ml.data.sequences import Sequences
from ml.generation.beam_search import Beams, PrefixScorer, TrieTensors, beam_search, rows_at_once
from ml.recommender import NO_ITEM, Recommendations


@dataclass(frozen=True)
class ListCounts:
    """How lists were found.

    Attributes:
        lists: how many there are.
        certified: how many are known to be what scoring every item gives.
        repeated: how many were searched more than once.
        filled: how many had fewer than k items with a probability above 0 and were filled by popularity.
    """

    lists: int = 0
    certified: int = 0
    repeated: int = 0
    filled: int = 0

    def __add__(self, other: ListCounts) -> ListCounts:
        return ListCounts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def generated_lists(
    scorer_of: Callable[[np.ndarray], PrefixScorer],
    trie: TrieTensors,
    histories: Sequences,
    k: int,
    exclude_seen: bool,
    training_counts: np.ndarray,
    width: int,
    widest: int,
) -> tuple[Recommendations, ListCounts]:
    """The k best items of each history, best first, equal scores by :func:`ml.retrieval.top_k.tie_break_order`.

    A list depends on its own history alone. Lists are shorter than k only if the catalogue, less what is excluded,
    holds fewer items. Where the model gives fewer than k items a probability above 0, the most popular of the others
    follow, with scores below those of the list.

    Args:
        scorer_of: the scorer of some of the histories, given which, int64 ``[rows]``; called for some rows at a time,
            and once more for those that are searched again.
        trie: identifiers of all items.
        histories: oldest item first, items of the catalogue; empty ones only if ``scorer_of`` takes them.
        k: length of the lists, at least 1.
        exclude_seen: leave out the items of a row's own history.
        training_counts: interactions of each item in training, ``[items]``.
        width: prefixes kept at each level, at least 1; more for rows where k and the items to be left out need it.
        widest: rows whose list is not certified are searched again with twice the width, until it is this one. With
            ``widest`` no more than ``width`` nothing is searched again.

    Raises:
        ValueError: k or the width is below 1, or a log-probability is not a number or above 0.
    """
    for name, value in (("k", k), ("the width", width)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    found = Recommendations(
        np.full((len(histories), k), NO_ITEM, dtype=np.int32), np.full((len(histories), k), -np.inf, dtype=np.float32)
    )
    widths = _first_widths(histories, k, exclude_seen, width, trie.items)
    counts = _search(scorer_of, trie, histories, exclude_seen, widths, min(widest, trie.items), found)
    return found, counts + ListCounts(filled=_fill(found, histories, exclude_seen, training_counts))


def _search(
    scorer_of: Callable[[np.ndarray], PrefixScorer],
    trie: TrieTensors,
    histories: Sequences,
    exclude_seen: bool,
    widths: np.ndarray,
    widest: int,
    found: Recommendations,
) -> ListCounts:
    """Write the lists that beam search finds, with wider beams for those that are not certified.

    Args:
        scorer_of: see :func:`generated_lists`.
        trie: identifiers of all items.
        histories: one a row.
        exclude_seen: leave out the items of a row's own history.
        widths: of the first search of each row; changed where it is searched again.
        widest: of the last one.
        found: written to.
    """
    certified, repeated = 0, np.zeros(len(histories), dtype=bool)
    pending = np.arange(len(histories))
    while len(pending):
        width = int(widths[pending].min())
        now = pending[widths[pending] == width]
        again = []
        for rows in _chunks(now, rows_at_once(trie, width)):
            beams = beam_search(scorer_of(rows), trie, width)
            is_certified = _write_lists(beams, histories.take(rows) if exclude_seen else None, rows, found)
            certified += int(is_certified.sum())
            again.append(rows[~is_certified])
        pending = pending[widths[pending] > width]
        if width < widest:
            uncertified = np.concatenate(again)
            repeated[uncertified] = True
            widths[uncertified] = min(2 * width, widest)
            pending = np.concatenate([pending, uncertified])
    return ListCounts(lists=len(histories), certified=certified, repeated=int(repeated.sum()))


def _first_widths(histories: Sequences, k: int, exclude_seen: bool, width: int, items: int) -> np.ndarray:
    """The width of the first search of each row, int64 ``[rows]``.

    It depends on the row alone, so that no list depends on another, and is a multiple of ``width``, so that few
    different widths occur.
    """
    needed = np.full(len(histories), k)
    if exclude_seen:
        seen = np.unique(histories.pairs(items)) // items
        needed += np.bincount(seen, minlength=len(histories))
    return np.minimum(-(-needed // width) * width, items)


def _write_lists(beams: Beams, seen: Sequences | None, rows: np.ndarray, found: Recommendations) -> np.ndarray:
    """Write the first k items of each row that may be in its list; whether each list is certified, bool ``[rows]``.

    Args:
        beams: of the rows.
        seen: items that a row must not get, one history a row.
        rows: where the lists are written.
        found: written to.
    """
    items, scores, cut = (each.cpu().numpy() for each in (beams.items, beams.scores, beams.cut))
    k = found.items.shape[1]
    wanted = items != NO_ITEM
    if seen is not None:
        most = max(int(items.max(initial=0)), int(seen.items.max(initial=0))) + 1
        wanted &= ~np.isin(np.arange(len(rows))[:, None] * most + items, seen.pairs(most))
    rank = np.cumsum(wanted, axis=1) - 1
    row, column = np.nonzero(wanted & (rank < k))
    of_rows = Recommendations(
        np.full((len(rows), k), NO_ITEM, dtype=np.int32), np.full((len(rows), k), -np.inf, dtype=np.float32)
    )
    of_rows.items[row, rank[row, column]] = items[row, column]
    of_rows.scores[row, rank[row, column]] = scores[row, column]
    found.items[rows], found.scores[rows] = of_rows.items, of_rows.scores
    return (of_rows.scores[:, -1] > cut) | (cut == -np.inf)


def _fill(found: Recommendations, histories: Sequences, exclude_seen: bool, training_counts: np.ndarray) -> int:
    """Fill lists that are shorter than k by popularity, in place; how many were."""
    short = np.flatnonzero(found.items[:, -1] == NO_ITEM)
    if len(short) == 0:
        return 0
    k, shares = found.items.shape[1], popularity_shares(training_counts)
    preferred, scores = found.items[short], found.scores[short]
    filled = fill_by_popularity(
        preferred,
        scores,
        histories.take(short),
        k,
        exclude_seen,
        popularity_order(training_counts),
        np.zeros(len(shares)),
    )
    had = preferred != NO_ITEM
    lowest = np.where(had, scores, np.inf).min(axis=1)
    lowest[~had.any(axis=1)] = 0
    added = ~had & (filled.items != NO_ITEM)
    # a share is at most 1, so no item that is added scores higher than the list
    below = lowest[:, None] - 1 + shares[filled.items]
    found.items[short] = filled.items
    found.scores[short] = np.where(added, below, filled.scores)
    return int(added.any(axis=1).sum())


def _chunks(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
