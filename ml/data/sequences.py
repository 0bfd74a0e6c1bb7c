"""Sequences of items, one a user, as flat arrays.

Needs numpy alone, so that a training host needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Sequences:
    """Item sequences of many users: row ``r`` is ``items[offsets[r]:offsets[r + 1]]``, oldest first.

    Attributes:
        items: item indices, int32 ``[interactions]``.
        offsets: where each row starts, int64 ``[rows + 1]``.
        users: user index of each row, int32 ``[rows]``, -1 for a user who is not of the training set; ``None``
            where nobody is known. Read by models with a vector for each user, by nobody else.
        times: when each interaction took place, seconds since 1970, int64 ``[interactions]``; ``None`` where that is
            not known or not read.
    """

    items: np.ndarray
    offsets: np.ndarray
    users: np.ndarray | None = None
    times: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.offsets) == 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.items):
            raise ValueError("offsets must start at 0 and end at the number of items")
        if self.users is not None and len(self.users) != len(self):
            raise ValueError(f"{len(self.users)} users for {len(self)} rows")
        if self.times is not None and len(self.times) != len(self.items):
            raise ValueError(f"{len(self.times)} times for {len(self.items)} interactions")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Items per row, int64 ``[rows]``."""
        return np.diff(self.offsets)

    @property
    def row_of_each(self) -> np.ndarray:
        """The row that each item is in, int64 ``[interactions]``, ascending."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def pairs(self, items: int) -> np.ndarray:
        """One number for each item and the row that it is in, ``row * items + item``, int64 ``[interactions]``: to look
        up which of other items are in a row."""
        return self.row_of_each * items + np.asarray(self.items, dtype=np.int64)

    @classmethod
    def from_lists(cls, rows: list[list[int]] | list[np.ndarray]) -> Sequences:
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        items = np.concatenate([np.asarray(row, dtype=np.int32) for row in rows]) if rows else np.empty(0)
        return cls(items.astype(np.int32), offsets)

    def take(self, rows: np.ndarray) -> Sequences:
        """The given rows, in the given order."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        starts = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        users = None if self.users is None else np.asarray(self.users)[rows]
        places = starts + np.arange(offsets[-1])
        times = None if self.times is None else np.asarray(self.times[places], dtype=np.int64)
        return Sequences(np.asarray(self.items[places], dtype=np.int32), offsets, users, times)

    def of_users(self, users: np.ndarray) -> Sequences:
        """The same rows, with the user index of each."""
        return replace(self, users=np.asarray(users, dtype=np.int32))

    def append(self, rows: np.ndarray, items: np.ndarray, times: np.ndarray | None = None) -> Sequences:
        """One more item at the end of each of the given rows (each row at most once), with its time if that is
        known."""
        extra = np.zeros(len(self), dtype=np.int64)
        extra[rows] = 1
        order = np.argsort(rows, kind="stable")
        added = np.asarray(items, dtype=np.int32)[order]
        added_times = None if times is None else np.asarray(times, dtype=np.int64)[order]
        offsets = np.concatenate([[0], np.cumsum(extra)]).astype(np.int64)
        return self.followed_by(Sequences(added, offsets, times=added_times))

    def followed_by(self, other: Sequences) -> Sequences:
        """Each row followed by the row of the other at the same place. There are times where all interactions have
        one.

        Raises:
            ValueError: they differ in their number of rows.
        """
        if len(self) != len(other):
            raise ValueError(f"{len(self)} rows cannot be followed by {len(other)}")
        offsets = np.asarray(self.offsets) + np.asarray(other.offsets)
        out = np.empty(offsets[-1], dtype=np.int32)
        timed = all(part.times is not None or len(part.items) == 0 for part in (self, other))
        times = np.empty(offsets[-1], dtype=np.int64) if timed else None
        for part, starts in ((self, offsets[:-1]), (other, offsets[:-1] + self.lengths)):
            places = np.arange(len(part.items)) + np.repeat(starts - part.offsets[:-1], part.lengths)
            out[places] = part.items
            if times is not None and part.times is not None:
                times[places] = part.times
        return Sequences(out, offsets, self.users, times)

    def with_rows(self, rows: np.ndarray, others: Sequences) -> Sequences:
        """The same rows, with the given ones (each at most once) replaced by those of others, in their order. There are
        times where both have them."""
        chosen = np.arange(len(self))
        chosen[rows] = len(self) + np.arange(len(others))
        return self.with_more(others).take(chosen)

    def with_more(self, others: Sequences) -> Sequences:
        """The rows of both, those of others at the end. There are times where both have them."""
        times = None if self.times is None or others.times is None else np.concatenate([self.times, others.times])
        return Sequences(
            np.concatenate([self.items, others.items]),
            np.concatenate([self.offsets, self.offsets[-1] + others.offsets[1:]]),
            times=times,
        )

    @classmethod
    def empty(cls, rows: int) -> Sequences:
        """Rows without an item."""
        return cls(np.empty(0, dtype=np.int32), np.zeros(rows + 1, dtype=np.int64))
