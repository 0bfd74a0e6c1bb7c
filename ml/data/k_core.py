"""The k-core of interactions in memory: which thresholds leave enough of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Core:
    """Size of a filtered dataset: users, items, interactions and the length of the longest history."""

    users: int
    items: int
    interactions: int
    longest: int


def core(users: np.ndarray, items: np.ndarray, users_need: int, items_need: int) -> Core:
    """Size of a dataset after users and items with too few interactions have been removed repeatedly.

    Args:
        users: user of each interaction, as numbers from 0, ``[interactions]``.
        items: item of each interaction, likewise.
        users_need: interactions that a user needs.
        items_need: interactions that an item needs.
    """
    while True:
        of_users, of_items = np.bincount(users), np.bincount(items)
        kept = (of_users[users] >= users_need) & (of_items[items] >= items_need)
        if kept.all():
            longest = int(of_users.max(initial=0))
            return Core(int(np.count_nonzero(of_users)), int(np.count_nonzero(of_items)), len(users), longest)
        users, items = users[kept], items[kept]


def largest(most: int, core_of: Callable[[int], Core], least_users: int, least_items: int) -> tuple[int, Core] | None:
    """The largest threshold from 0 to ``most`` that leaves enough, with what it leaves; ``None`` where none does.

    Enough are some users and items, and a history of two interactions, one to train on and one to test with.

    Args:
        most: the largest threshold to try.
        core_of: what a threshold leaves; the larger the threshold, the less.
        least_users: users that have to be left.
        least_items: items that have to be left.
    """
    found, low, high = None, 0, most
    while low <= high:
        middle = (low + high) // 2
        left = core_of(middle)
        if left.users >= least_users and left.items >= least_items and left.longest >= 2:
            found, low = (middle, left), middle + 1
        else:
            high = middle - 1
    return found
