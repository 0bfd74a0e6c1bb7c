"""What each candidate would add to a goal at the next place of its list, for a block of rows at a time.

Each class holds what does not depend on the tradeoff, so that lists at many tradeoffs share it: ``start`` begins empty
lists, ``now`` gives the gains at the next place, and ``add`` appends the chosen candidates. Arrays are float32
``[rows, candidates]`` where nothing else is said.

An item of which nothing is known (its vector is 0) gains nothing, so it wins no place for being unknown, and no other
item is compared with it. Where the gain is minus a similarity, it has the least that there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ml.data.sequences import Sequences
from ml.recommender import NO_ITEM

# vectors with so few entries are multiplied entry by entry
_SPARSE_SHARE = 0.25
# the share of the history's own distribution in that of a list, as in Steck's paper: no logarithm of 0
SMOOTHING = 0.01
POPULARITY_GROUPS = 10


class Gain(Protocol):
    """The gains of a block of rows."""

    def start(self) -> None:
        """Begin with empty lists."""

    def now(self) -> np.ndarray:
        """The gain of each candidate at the next place; what is written into it is lost."""

    def add(self, columns: np.ndarray, rows: np.ndarray) -> None:
        """Append a candidate to each of some lists.

        Args:
            columns: of the chosen candidates, int ``[rows given]``.
            rows: ascending, int ``[rows given]``.
        """


@dataclass(frozen=True, eq=False)
class ItemVectors:
    """Vectors of the catalogue, in the form in which products with them are cheapest.

    Attributes:
        vectors: float32 ``[items, dimensions]``, rows of length 1 or 0.
        known: whether something is known of an item, bool ``[items]``.
        entries: dimensions that are not 0, int32 ``[items, most entries]``, and their values, float32 of the same
            shape, filled with 0; ``None`` where vectors have many.
    """

    vectors: np.ndarray
    known: np.ndarray
    entries: tuple[np.ndarray, np.ndarray] | None

    @classmethod
    def of(cls, vectors: np.ndarray) -> ItemVectors:
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        most = int(np.count_nonzero(vectors, axis=1).max(initial=0))
        entries = None
        if 0 < most <= _SPARSE_SHARE * vectors.shape[1]:
            # stable, so that the dimensions of an item stay in their order
            places = np.argsort(vectors == 0, axis=1, kind="stable")[:, :most]
            entries = places.astype(np.int32), np.take_along_axis(vectors, places, axis=1)
        return cls(vectors, np.asarray(vectors.any(axis=1)), entries)

    def floats_of_candidate(self) -> int:
        """How many floats a gathered candidate takes."""
        return 2 * self.entries[0].shape[1] if self.entries else self.vectors.shape[1]

    def gather(self, items: np.ndarray) -> Gathered:
        """The vectors of candidates, int ``[rows, candidates]``, ``NO_ITEM`` for none."""
        at = np.where(items == NO_ITEM, 0, items)
        known = self.known[at] & (items != NO_ITEM)
        if self.entries is None:
            return Gathered(self, at, known, self.vectors[at], None)
        dimensions, values = self.entries
        return Gathered(self, at, known, values[at], dimensions[at])


@dataclass(frozen=True, eq=False)
class Gathered:
    """The vectors of the candidates of some rows.

    Attributes:
        of: the vectors of the catalogue.
        items: int ``[rows, candidates]``, 0 where there is none.
        known: whether there is a candidate, and something is known of it, bool ``[rows, candidates]``.
        values: float32 ``[rows, candidates, dimensions or entries]``.
        dimensions: of the entries, of the same shape; ``None`` where values are whole vectors.
    """

    of: ItemVectors
    items: np.ndarray
    known: np.ndarray
    values: np.ndarray
    dimensions: np.ndarray | None

    def products(self, others: np.ndarray, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Products with one vector a row, float32 ``[rows given, candidates]``.

        Sums are of numpy alone: a BLAS would start threads of its own.

        Args:
            others: float32 ``[rows given, dimensions]``.
            rows: which rows.
        """
        values = self.values[rows]
        if self.dimensions is None:
            return np.einsum("rcd,rd->rc", values, others)
        dimensions = self.dimensions[rows]
        shape = (len(dimensions), dimensions.shape[1] * dimensions.shape[2])
        found = np.take_along_axis(others, dimensions.reshape(shape), axis=1)
        return np.einsum("rce,rce->rc", values, found.reshape(values.shape))

    def similarities(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosines of all candidates with the chosen ones of which something is known.

        Args:
            columns: of the chosen candidates, int ``[rows given]``.
            rows: int ``[rows given]``.

        Returns:
            Rows whose chosen candidate is known, int, and the cosines in them, float32 ``[those rows, candidates]``.
        """
        known = self.known[rows, columns]
        if not known.all():
            rows, columns = rows[known], columns[known]
        chosen = self.of.vectors[self.items[rows, columns]]
        return rows, self.products(chosen, slice(None) if len(rows) == len(self.items) else rows)


class Fixed:
    """Gains that do not depend on the list above: of popularity, and of distance to the history."""

    def __init__(self, gains: np.ndarray) -> None:
        self.gains = gains

    def start(self) -> None:
        pass

    def now(self) -> np.ndarray:
        return self.gains.copy()

    def add(self, columns: np.ndarray, rows: np.ndarray) -> None:
        pass


class MeanDistance:
    """The mean distance to the known items above; 0 where there is none.

    It is what the item adds to the intra-list distance, relative to what a distance of 1 would add.
    """

    def __init__(self, candidates: Gathered) -> None:
        self.candidates = candidates

    def start(self) -> None:
        self.sums = np.zeros(self.candidates.items.shape, np.float32)
        self.counts = np.zeros((len(self.sums), 1), np.float32)

    def now(self) -> np.ndarray:
        gains = self.sums / np.maximum(self.counts, 1)
        np.subtract(1, gains, out=gains)
        np.maximum(gains, 0, out=gains)
        gains *= self.candidates.known
        gains *= self.counts > 0
        return gains

    def add(self, columns: np.ndarray, rows: np.ndarray) -> None:
        rows, found = self.candidates.similarities(columns, rows)
        self.sums[rows] += found
        self.counts[rows] += 1


class MaximalMarginalRelevance:
    """Minus the largest similarity to a known item above; 0 where there is none.

    An item of which nothing is known has -1 below the first place, as if it were equal to an item above.
    """

    def __init__(self, candidates: Gathered) -> None:
        self.candidates = candidates

    def start(self) -> None:
        self.largest = np.zeros(self.candidates.items.shape, np.float32)
        self.compared = np.zeros(len(self.largest), bool)
        self.begun = np.zeros((len(self.largest), 1), bool)

    def now(self) -> np.ndarray:
        gains = -self.largest
        np.copyto(gains, np.float32(-1), where=self.begun & ~self.candidates.known)
        return gains

    def add(self, columns: np.ndarray, rows: np.ndarray) -> None:
        self.begun[rows] = True
        rows, found = self.candidates.similarities(columns, rows)
        again = self.compared[rows]
        np.maximum(found, self.largest[rows], out=found, where=again[:, None])
        self.largest[rows] = found
        self.compared[rows] = True


class Serendipity:
    """The mean of the distance to the list above, the distance to the history, and unpopularity."""

    def __init__(self, distance: MeanDistance, fixed: np.ndarray) -> None:
        self.distance = distance
        self.fixed = fixed

    def start(self) -> None:
        self.distance.start()

    def now(self) -> np.ndarray:
        gains = self.distance.now()
        gains += self.fixed
        gains /= 3
        return gains

    def add(self, columns: np.ndarray, rows: np.ndarray) -> None:
        self.distance.add(columns, rows)


@dataclass(frozen=True, eq=False)
class ItemLabels:
    """The labels of the items, as distributions.

    Attributes:
        labels: label of each entry, int64 ``[entries]``.
        shares: of the label in its item, float32 ``[entries]``; those of an item sum to 1.
        offsets: where each item starts, int64 ``[items + 1]``.
        number: of labels.
    """

    labels: np.ndarray
    shares: np.ndarray
    offsets: np.ndarray
    number: int

    @classmethod
    def of_vectors(cls, vectors: np.ndarray) -> ItemLabels:
        """Of multi-hot vectors of length 1: their squares sum to 1."""
        items, labels = np.nonzero(vectors)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(items, minlength=len(vectors)))])
        return cls(labels, np.square(vectors[items, labels], dtype=np.float32), offsets, vectors.shape[1])

    @classmethod
    def of_popularity(cls, percentiles: np.ndarray) -> ItemLabels:
        """Ten groups of equally many items, by popularity."""
        groups = np.minimum((percentiles * POPULARITY_GROUPS).astype(np.int64), POPULARITY_GROUPS - 1)
        ones = np.ones(len(groups), np.float32)
        return cls(groups, ones, np.arange(len(groups) + 1), POPULARITY_GROUPS)

    def entries_of(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entries of some items one after the other, int64, and which of the items each belongs to."""
        starts, lengths = self.offsets[items], self.offsets[items + 1] - self.offsets[items]
        owner = np.repeat(np.arange(len(items)), lengths)
        ends = np.cumsum(lengths)
        within = np.arange(len(owner)) - np.repeat(ends - lengths, lengths)
        return starts[owner] + within, owner

    def distributions(self, histories: Sequences, rows: slice) -> np.ndarray:
        """Distribution of the labels in each history, float32 ``[rows, labels]``; 0 where it has none."""
        offsets = np.asarray(histories.offsets[rows.start : rows.stop + 1])
        entries, owner = self.entries_of(np.asarray(histories.items[offsets[0] : offsets[-1]], dtype=np.int64))
        row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[owner]
        sums = np.bincount(
            row * self.number + self.labels[entries],
            weights=self.shares[entries],
            minlength=(len(offsets) - 1) * self.number,
        ).reshape(-1, self.number)
        return (sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32)


class Calibration:
    """By how much an item lowers the Kullback-Leibler divergence between the labels of the history and of the list.

    Of the list with the item, relative to the list with an item that has none of the labels of the history: what all
    candidates have in common is left out, so the gain is never below 0.
    """

    def __init__(self, items: np.ndarray, labels: ItemLabels, wanted: np.ndarray) -> None:
        self.items, self.labels, self.wanted = items, labels, wanted
        is_item = items != NO_ITEM
        cells = np.flatnonzero(is_item)
        entries, owner = labels.entries_of(items[is_item].astype(np.int64))
        cells = cells[owner]
        at = cells // max(1, items.shape[1]) * labels.number + labels.labels[entries]
        target = wanted.reshape(-1)[at]
        # labels that the history lacks gain nothing
        counted = target > 0
        self.at, self.target = at[counted], target[counted]
        self.shares = labels.shares[entries[counted]]
        cells = cells[counted]
        self.starts = np.flatnonzero(np.diff(cells, prepend=-1))
        self.cells = cells[self.starts]

    def start(self) -> None:
        self.sums = np.zeros(self.wanted.shape, np.float32)
        self.counts = np.zeros(len(self.items), np.float32)

    def now(self) -> np.ndarray:
        gains = np.zeros(self.items.shape, np.float32)
        if len(self.at):
            # of the list with one item more
            scale = (1 - SMOOTHING) / (self.counts + 1)
            scale = scale.astype(np.float32)[self.at // self.labels.number]
            without = self.sums.reshape(-1)[self.at] * scale + np.float32(SMOOTHING) * self.target
            terms = self.target * np.log((without + self.shares * scale) / without)
            gains.reshape(-1)[self.cells] = np.add.reduceat(terms, self.starts)
        return gains

    def add(self, columns: np.ndarray, rows: np.ndarray) -> None:
        entries, owner = self.labels.entries_of(self.items[rows, columns].astype(np.int64))
        # an item has each of its labels once, so no place occurs twice
        self.sums[rows[owner], self.labels.labels[entries]] += self.labels.shares[entries]
        self.counts[np.unique(rows[owner])] += 1
