"""Lists whose places are shared out among rankings by quotas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.data.sequences import Sequences
from ml.recommender import NO_ITEM


@dataclass(frozen=True)
class Source:
    """Rankings that share a number of places, the nearest first.

    Attributes:
        items: best first, int32 ``[rows, rankings, width]``, ``NO_ITEM`` at the end of shorter ones.
        quotas: places of each ranking in a round, ``[rankings]``.
    """

    items: np.ndarray
    quotas: tuple[int, ...]


def lists_by_quotas(sources: Sequence[Source], rounds: int, items: int, seen: Sequences | None) -> np.ndarray:
    """Share out the places of as many rounds.

    In a round every source has as many places as its quotas sum to, in turn. A ranking with fewer items left than its
    quota gives the rest of its places to the rankings of its source before it, in their order; what these cannot fill
    goes to those after it, behind the source's other places. What a source cannot fill goes to all sources in turn, at
    the end of the round. No item stands twice in a list.

    Args:
        sources: of the same rows, at least one.
        rounds: how many.
        items: size of the catalogue.
        seen: histories whose items are left out, ``[rows]``; ``None``: nothing is.

    Returns:
        int32 ``[rows, rounds * places of a round]``, ``NO_ITEM`` at the end of shorter lists.
    """
    rows = len(sources[0].items)
    round_places = sum(sum(source.quotas) for source in sources)
    listed = np.full((rows, rounds * round_places), NO_ITEM, dtype=np.int32)
    length = np.zeros(rows, dtype=np.int64)
    # one column more, which NO_ITEM (-1) reads: never free
    free = np.ones((rows, items + 1), dtype=bool)
    free[:, NO_ITEM] = False
    if seen is not None:
        free[np.repeat(np.arange(rows), seen.lengths), seen.items] = False

    def place(source: Source, quotas: tuple[int, ...], places: np.ndarray) -> None:
        """Give ``places`` of each row to a source, and note what it put there."""
        available = free[np.arange(rows)[:, None, None], source.items]
        rankings, amounts = _shares(available.sum(axis=2), quotas, places)
        row, ranking, column = _first(available, rankings, amounts)
        chosen = source.items[row, ranking, column]
        new = amounts.sum(axis=1)
        # _first gives them by row and ranking; in the list the shares stand one after another
        place_of_ranking = np.repeat(np.tile(rankings, rows), amounts.ravel())
        row_of_place = np.repeat(np.arange(rows), new)
        within = np.arange(len(row_of_place)) - np.repeat(np.cumsum(new) - new, new)
        by_ranking = np.lexsort((place_of_ranking, row_of_place))
        listed[row, length[row] + within[by_ranking]] = chosen
        free[row, chosen] = False
        length[:] += new

    for number in range(1, rounds + 1):
        before = int(length.sum())
        for source in sources:
            place(source, source.quotas, np.full(rows, sum(source.quotas)))
        if len(sources) > 1:
            for source in sources:
                place(source, (0,) * len(source.quotas), number * round_places - length)
        if length.sum() == before:
            break  # nothing is left in any ranking
    return listed


def _shares(available: np.ndarray, quotas: tuple[int, ...], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In which order rankings fill the places of a round.

    Args:
        available: items left in each ranking, ``[rows, rankings]``.
        quotas: ``[rankings]``.
        places: to be filled, ``[rows]``.

    Returns:
        the ranking of each share, ``[shares]``, and how many items each row takes of it, ``[rows, shares]``.
    """
    left = available.astype(np.int64)
    rankings, amounts = [], []

    def take(ranking: int, most: np.ndarray) -> np.ndarray:
        amount = np.minimum(left[:, ranking], most)
        left[:, ranking] -= amount
        rankings.append(ranking)
        amounts.append(amount)
        return most - amount

    for ranking, quota in enumerate(quotas):
        short = np.maximum(quota - left[:, ranking], 0)
        for earlier in range(ranking):
            short = take(earlier, short)
        take(ranking, np.full(len(left), quota))
    rest = places - sum(amounts)
    for ranking in range(len(quotas)):
        rest = take(ranking, rest)
    return np.array(rankings), np.stack(amounts, axis=1)


def _first(
    available: np.ndarray, rankings: np.ndarray, amounts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, ranking and column of the first available items of each ranking, as many as its shares sum to."""
    taken = np.zeros(available.shape[:2], dtype=np.int64)
    for share, number in enumerate(rankings):
        taken[:, number] += amounts[:, share]
    rank = np.cumsum(available, axis=2)
    row, ranking, column = np.nonzero(available & (rank <= taken[:, :, None]))
    return row, ranking, column
