"""Rows of codes that are equal: groups of them, numbers within a group, and how many items collide."""

from __future__ import annotations

import numpy as np


def equal_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups of equal rows: the group of each row, int64 ``[rows]``, and the size of each group."""
    if rows.shape[1] == 0:
        return np.zeros(len(rows), dtype=np.int64), np.array([len(rows)])
    _, group, sizes = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return group.reshape(-1), sizes


def numbers_within(group: np.ndarray, sizes: np.ndarray, key: np.ndarray) -> np.ndarray:
    """The place of each row among those of its group, int64 ``[rows]`` from 0.

    Args:
        group: of each row, see :func:`equal_rows`.
        sizes: of each group.
        key: rows with a lower one come first, equal ones in their order.
    """
    order = np.lexsort((np.arange(len(group)), key, group))
    starts = np.cumsum(sizes) - sizes
    numbers = np.empty(len(group), dtype=np.int64)
    numbers[order] = np.arange(len(group)) - np.repeat(starts, sizes)
    return numbers


def collisions_of(values: np.ndarray) -> dict[str, int]:
    """How many tuples are distinct, how many items share theirs with another, and the largest group of such items."""
    sizes = equal_rows(values)[1] if len(values) else np.zeros(0, dtype=np.int64)
    return {
        "distinct_codes": len(sizes),
        "items_in_collisions": int(sizes[sizes > 1].sum()),
        "largest_collision": int(sizes.max(initial=0)),
    }
