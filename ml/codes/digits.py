"""Numbers of items as digits, for the methods that number the items."""

from __future__ import annotations

import numpy as np

from ml.codes.codes import LARGEST_BOOK
from ml.data.sequences import Sequences


def check_base(base: int) -> None:
    """Check that the digits of a base fit into books.

    Raises:
        ValueError: the base is below 2, or larger than a book may be.
    """
    if not 2 <= base <= LARGEST_BOOK:
        raise ValueError(f"base must be from 2 to {LARGEST_BOOK:,}, not {base}")


def in_digits(numbers: np.ndarray, base: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Numbers in a base, all with as many digits as the largest needs, the highest digit first.

    Args:
        numbers: int64 ``[items]``, not negative.
        base: at least 2.

    Returns:
        The digits, int64 ``[items, digits]``, at least one, and how many values each digit can have: the base, and
        for the first digit no more than the largest number needs.

    Raises:
        ValueError: the base is below 2.
    """
    if base < 2:
        raise ValueError(f"base must be at least 2, not {base}")
    largest, powers = int(numbers.max(initial=0)), [1]
    while powers[-1] * base <= largest:
        powers.append(powers[-1] * base)
    digits = np.stack([numbers // power % base for power in reversed(powers)], axis=1)
    return digits, (largest // powers[-1] + 1, *[base] * (len(powers) - 1))


def order_of_appearance(histories: Sequences, items: int) -> np.ndarray:
    """The place of each item in the order in which the histories first show the items, int64 ``[items]``, from 0.

    Histories are read one after the other, in the order of their rows. Items that are in none come last, by their
    index.
    """
    first = np.full(items, len(histories.items), dtype=np.int64)
    seen, place = np.unique(np.asarray(histories.items), return_index=True)
    first[seen] = place
    numbers = np.empty(items, dtype=np.int64)
    numbers[np.argsort(first, kind="stable")] = np.arange(items)
    return numbers
