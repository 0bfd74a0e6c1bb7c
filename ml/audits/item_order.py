"""Whether histories are in the order of item ids instead of the order of time.

Where a loader sorts by time alone, and the file was in the order of items, interactions of one day come out sorted by
item; where a loader forgets to sort, all of them do. Neither needs a time to be seen: a history of ``n`` different
items is ascending by chance once in ``n!`` orders, and one adjacent pair in two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom

from ml.data.timed_interactions import Interactions
from ml.data.training_set import TrainingSet

SHORTEST = 4
"""Different items that a history needs: of four, one order in 24 is ascending by chance."""
SORTED_SHARE = 0.5
"""From this share of ascending histories on, the order is called that of the items.

Files in the order of items reach 1 (less what repeats disturb); files in the order of days whose ties were sorted by
item have reached 0.2 (the 5-core Toys_and_Games of 2014), so that half stands clear of both.
"""
EXCESS_SHARE = 0.03
"""By this share above chance, the order is called partly that of the items.

An order of time may agree with item identities a little, since newer items have higher identities and are used later.
"""
CERTAINTY = 1e-3
"""Such an excess must also be rarer than this by chance, so that a few short histories raise no alarm."""

IN_TIME_SHARE = 0.95
"""From this share of neighbours in the order of their times on, a dump counts as ordered by time."""

BY_TIME, BY_ITEM, PARTLY_BY_ITEM, BY_NEITHER = (
    "in the order of time",
    "in the order of items",
    "partly in the order of items",
    "in the order of neither time nor items",
)
SORTED, PARTLY_SORTED, NOT_SORTED, TOO_FEW = (
    "sorted by item",
    "partly sorted by item",
    "not sorted by item",
    "too few to tell",
)


@dataclass(frozen=True)
class ItemOrder:
    """How far an order of histories is that of item identities.

    Attributes:
        users: with at least :data:`SHORTEST` different items.
        ascending_users: of these, with all their items in ascending order.
        expected_share: of ascending users by chance, the mean of ``1 / n!``.
        pairs: of adjacent items, over all users.
        ascents: of these, with the higher item second; half of them by chance.
    """

    users: int
    ascending_users: int
    expected_share: float
    pairs: int
    ascents: int

    @property
    def ascending_share(self) -> float:
        return self.ascending_users / self.users if self.users else 0.0

    @property
    def ascent_share(self) -> float:
        return self.ascents / self.pairs if self.pairs else 0.0

    @property
    def finding(self) -> str:
        """:data:`SORTED`, :data:`PARTLY_SORTED`, :data:`NOT_SORTED`, or :data:`TOO_FEW` users to tell."""
        if not self.users or self.expected_share**self.users > CERTAINTY:
            return TOO_FEW
        by_chance = binom.sf(self.ascending_users - 1, self.users, self.expected_share)
        if by_chance >= CERTAINTY or self.ascending_share < self.expected_share + EXCESS_SHARE:
            return NOT_SORTED
        return SORTED if self.ascending_share >= SORTED_SHARE else PARTLY_SORTED


def item_order(users: np.ndarray, places: np.ndarray) -> ItemOrder:
    """Measure one order of histories.

    Args:
        users: user of each interaction, ``[interactions]``, those of one user together.
        places: where its item stands among the identities, ``[interactions]``. Of an item that a user repeats,
            the first interaction counts.
    """
    first = _first_of_each_pair(users, places)
    users, places = users[first], places[first]
    same = users[1:] == users[:-1]
    ascent = same & (places[1:] > places[:-1])
    _, user, lengths = np.unique(users, return_inverse=True, return_counts=True)
    descents = np.bincount(user[1:][same & ~ascent], minlength=len(lengths))
    long = lengths >= SHORTEST
    expected = np.exp(-gammaln(lengths[long] + 1))
    return ItemOrder(
        users=int(long.sum()),
        ascending_users=int((descents[long] == 0).sum()),
        expected_share=float(expected.mean()) if len(expected) else 0.0,
        pairs=int(same.sum()),
        ascents=int(ascent.sum()),
    )


def measured(training_set: TrainingSet, interactions: Interactions, order: np.ndarray | None = None) -> ItemOrder:
    """The order of the histories, or another of the same interactions.

    Identities that are all numbers are compared as numbers too, and the order that is nearer to that of the items
    counts. Where the numbers were given out in the order of first appearance in the file, as loaders do that
    renumber, an item that is new in the file comes last by construction: first appearances are left out then.

    Args:
        training_set: with the identities.
        interactions: of its users and items.
        order: row numbers of interactions, those of one user together; as they stand by default.
    """
    order = np.arange(len(interactions)) if order is None else order
    results = []
    for places in _numberings(training_set.item_ids):
        place = places[interactions.items]
        kept = order[_is_informative(place, interactions.lines, interactions.users)[order]]
        results.append(item_order(interactions.users[kept], place[kept]))
    return max(results, key=lambda one: (one.ascending_share, one.ascent_share))


def ascents_by_moment(training_set: TrainingSet, interactions: Interactions) -> tuple[ItemOrder, ItemOrder]:
    """Neighbours in the histories that share their moment, and those that do not, each without a count of users."""
    results = []
    for places in _numberings(training_set.item_ids):
        place = places[interactions.items]
        kept = _is_informative(place, interactions.lines, interactions.users)
        users, moments, place = interactions.users[kept], interactions.moments[kept], place[kept]
        pair = (users[1:] == users[:-1]) & (place[1:] != place[:-1])
        ascent = pair & (place[1:] > place[:-1])
        shared = moments[1:] == moments[:-1]
        within, across = (
            ItemOrder(0, 0, 0.0, int((pair & at).sum()), int((ascent & at).sum())) for at in (shared, ~shared)
        )
        results.append((within, across))
    return max(results, key=lambda pairs: pairs[0].ascent_share)


def file_order(interactions: Interactions) -> np.ndarray:
    """Row numbers of the interactions, user by user in the order of the dump."""
    return np.lexsort((interactions.lines, interactions.users))


def in_time_share(interactions: Interactions, order: np.ndarray) -> float | None:
    """Of adjacent interactions of one user at different moments, the share with the later one second.

    ``None`` where no two moments differ.
    """
    users, moments = interactions.users[order], interactions.moments[order]
    pair = (users[1:] == users[:-1]) & (moments[1:] != moments[:-1])
    return float((moments[1:] > moments[:-1])[pair].mean()) if pair.any() else None


def file_kind(training_set: TrainingSet, interactions: Interactions) -> str:
    """What order the rows of a user have in the dump, in words: :data:`BY_TIME` and its alternatives.

    With times, a dump by time has nearly all neighbours in their order, and one by item half of them. Without times
    a dump that is not in the order of items is taken to be in another that nothing here can name.
    """
    order = file_order(interactions)
    in_time = in_time_share(interactions, order) if interactions.has_times else None
    if in_time is not None and in_time >= IN_TIME_SHARE:
        return BY_TIME
    finding = measured(training_set, interactions, order).finding
    return {SORTED: BY_ITEM, PARTLY_SORTED: PARTLY_BY_ITEM}.get(finding, BY_NEITHER)


def _first_of_each_pair(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Places of the first interaction of each user with each item, ascending."""
    pairs = users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items
    return np.sort(np.unique(pairs, return_index=True)[1])


def _numberings(item_ids: np.ndarray) -> list[np.ndarray]:
    """Orders of the items that a file may be sorted by: of their identities as text, and as numbers if they are."""
    as_text = np.arange(len(item_ids))
    if not len(item_ids) or not np.char.isdigit(item_ids).all() or np.char.str_len(item_ids).max() > 18:
        return [as_text]
    as_numbers = np.empty(len(item_ids), dtype=np.int64)
    as_numbers[np.argsort(item_ids.astype(np.int64), kind="stable")] = as_text
    return [as_text, as_numbers]


def _is_informative(places: np.ndarray, lines: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Which interactions are informative, bool ``[interactions]``: all, or only those with an item seen before where
    items are numbered by their first appearance."""
    in_file = np.lexsort((np.arange(len(lines)), users, lines))
    first = in_file[np.sort(np.unique(places[in_file], return_index=True)[1])]
    informative = np.ones(len(places), dtype=bool)
    if len(first) > 1 and (np.diff(places[first]) > 0).mean() >= 0.9:
        informative[first] = False
    return informative
