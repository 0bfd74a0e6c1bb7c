"""Rings of a directed graph around an item, each ranked by likeness to that item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ml.recommender import NO_ITEM
from ml.retrieval.top_k import top_k

_CELLS_AT_ONCE = 1 << 22  # 32 MiB of float64 likeness
_GRID = 2.0**25
_HERE = 255


def on_a_grid(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 or 0, rounded to multiples of 2^-25, float64, same shape.

    Products of two such numbers, and all sums of them that an inner product forms, are exact in float64: an inner
    product is then the same bits in whatever order, and in a block of whatever shape, it is computed.
    """
    return np.round(np.asarray(vectors, dtype=np.float64) * _GRID) / _GRID


@dataclass(frozen=True)
class RankedRings:
    """The best items of the rings around some anchors.

    Attributes:
        anchors: item indices, int64 ``[anchors]``, ascending.
        items: of ring ``h + 1`` around each anchor, best first, int32 ``[anchors + 1, rings, width]``, ``NO_ITEM`` at
            the end of shorter ones; the last row stands for no anchor and is empty.
    """

    anchors: np.ndarray
    items: np.ndarray

    def around(self, items: np.ndarray, rings: int) -> np.ndarray:
        """The inner rings around each of some items (``NO_ITEM``: none), int32 ``[items, rings, width]``."""
        row = np.searchsorted(self.anchors, items)
        return self.items[np.where(items == NO_ITEM, len(self.anchors), row), :rings]


def ranked_rings(
    edges: sparse.csr_matrix,
    vectors: np.ndarray,
    anchors: np.ndarray,
    rings: int,
    width: int,
    edge_weight: float,
    order: np.ndarray,
) -> RankedRings:
    """Rank the items at exactly 1, 2, … steps from each anchor.

    The first ring is what an edge leads to, the anchor itself too where it has one; a later ring is what one more step
    reaches first. In a ring items are ranked by the cosine of their vectors with the anchor's, in the first ring by
    that plus ``edge_weight * log(1 + count) / log(1 + largest count of the anchor)``; equal ones by ``order``.
    It costs a product with the vectors of the whole catalogue for each anchor.

    Args:
        edges: counts, ``[items, items]``.
        vectors: rows of length 1 or 0 of :func:`on_a_grid`, ``[items, dimensions]``.
        anchors: item indices, int64 ``[anchors]``, ascending, each once.
        rings: how many.
        width: items of a ring that are kept.
        edge_weight: weight of the counts against the cosine.
        order: a permutation of the items, ``[items]``.
    """
    items = edges.shape[0]
    step = sparse.csr_matrix((np.ones(edges.nnz, dtype=np.float32), edges.indices, edges.indptr), shape=edges.shape)
    kept = np.full((len(anchors) + 1, rings, width), NO_ITEM, dtype=np.int32)
    at_once = max(1, _CELLS_AT_ONCE // max(1, items))
    for start in range(0, len(anchors), at_once):
        block = anchors[start : start + at_once]
        likeness = (vectors[block] @ vectors.T).astype(np.float32)
        ring_of = _rings(step, block, rings)
        likeness[_rows_of(edges[block]), edges[block].indices] += edge_weight * _edge_scores(edges[block])
        for ring in range(rings):
            inside = ring_of == ring + 1
            most = min(width, int(inside.sum(axis=1).max()))
            if most:
                scores = np.where(inside, likeness, np.float32(-np.inf))
                kept[start : start + len(block), ring, :most] = top_k(scores, most, order).items
    return RankedRings(anchors, kept)


def _rings(step: sparse.csr_matrix, anchors: np.ndarray, rings: int) -> np.ndarray:
    """Ring of each item around each anchor, uint8 ``[anchors, items]``; 0 outside all rings."""
    rows = np.arange(len(anchors))
    ring_of = np.zeros((len(anchors), step.shape[0]), dtype=np.uint8)
    ring_of[rows, anchors] = _HERE
    reached = step[anchors]
    ring_of[_rows_of(reached), reached.indices] = 1
    for ring in range(2, rings + 1):
        reached = (reached @ step).tocsr()
        row, column = _rows_of(reached), reached.indices
        new = ring_of[row, column] == 0
        ring_of[row[new], column[new]] = ring
        ones = np.ones(int(new.sum()), dtype=np.float32)
        reached = sparse.csr_matrix((ones, (row[new], column[new])), shape=reached.shape)
    return ring_of


def _edge_scores(edges: sparse.csr_matrix) -> np.ndarray:
    """``log(1 + count)`` over the largest of its row, float32 ``[stored edges]``."""
    weights = np.log1p(edges.data.astype(np.float64))
    largest = np.zeros(edges.shape[0])
    np.maximum.at(largest, _rows_of(edges), weights)
    return (weights / largest[_rows_of(edges)]).astype(np.float32)


def _rows_of(matrix: sparse.csr_matrix) -> np.ndarray:
    """The row of each stored value, int64."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
