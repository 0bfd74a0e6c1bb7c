"""A fusion: which parts, with what weights, and one ranking from their lists.

A part is any recommender; only its lists are asked for, ``recommend(histories, k, exclude_seen)``, so that a count, a
transformer and a text index fuse alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ml.fusion.candidates import Candidates, candidates_of, weighted_scores
from ml.fusion.normalisation import NORMALISATIONS, Normalisation, normalised
from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.top_k import top_k

DEPTH = 200
_CELLS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Fusion:
    """A convex combination of the normalised scores of several lists.

    Parts are kept in the order of their names, so that the order in which they are given changes no bit.

    Attributes:
        parts: names, ascending.
        weights: of the parts, none negative, summing to 1; a part of weight 0 is left out.
        normalisation: how the scores of a list are made comparable, see :func:`ml.fusion.normalisation.normalised`.
        depth: how many items of each part's list are looked at.

    Raises:
        ValueError: names repeat, weights do not fit them or do not sum to 1, or the rest is out of range.
    """

    parts: tuple[str, ...]
    weights: tuple[float, ...]
    normalisation: Normalisation
    depth: int = DEPTH

    def __post_init__(self) -> None:
        if not self.parts or len(set(self.parts)) != len(self.parts):
            raise ValueError(f"a fusion needs parts of different names, not {list(self.parts)}")
        if len(self.weights) != len(self.parts):
            raise ValueError(f"{len(self.weights)} weights for {len(self.parts)} parts")
        if not all(0 <= weight <= 1 for weight in self.weights) or abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError(f"weights must be from 0 to 1 and sum to 1, not {list(self.weights)}")
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}, not {self.normalisation!r}")
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, not {self.depth}")
        order = sorted(range(len(self.parts)), key=self.parts.__getitem__)
        object.__setattr__(self, "parts", tuple(self.parts[place] for place in order))
        object.__setattr__(self, "weights", tuple(float(self.weights[place]) for place in order))

    def fuse(self, lists: Mapping[str, Recommendations], k: int, items: int) -> Recommendations:
        """One list a row from the lists of the parts.

        Candidates are what the parts of a weight above 0 list; a row with fewer than k of them is filled with
        ``NO_ITEM``. Equal scores are ordered by the rule of ``ml.retrieval.top_k``.

        Args:
            lists: of each part by its name, for the same histories; those of parts of weight 0 may be missing. Lists
                longer than ``depth`` are cut.
            k: length of the lists returned, at least 1.
            items: size of the catalogue.

        Raises:
            ValueError: a part's lists are missing, or parts have lists of different numbers of rows.
        """
        counted = {part: weight for part, weight in zip(self.parts, self.weights, strict=True) if weight > 0}
        missing = [part for part in counted if part not in lists]
        if missing:
            raise ValueError(f"no lists of {', '.join(missing)} were given, which have a weight in this fusion")
        cut = [first(lists[part], self.depth) for part in counted]
        rows = rows_of(cut)
        weights = np.array(list(counted.values()))
        fused_items = np.full((rows, k), NO_ITEM, dtype=np.int32)
        fused_scores = np.full((rows, k), -np.inf, dtype=np.float32)
        for block, candidates in in_blocks(cut, self.normalisation, items):
            scores = weighted_scores(candidates, weights)
            # columns stand in the order of ties already
            best = top_k(scores, k, np.arange(scores.shape[1]))
            taken = np.take_along_axis(candidates.items, np.maximum(best.items, 0), axis=1) if scores.size else NO_ITEM
            fused_items[block] = np.where(best.items == NO_ITEM, NO_ITEM, taken)
            fused_scores[block] = best.scores
        return Recommendations(fused_items, fused_scores)

    def as_json(self) -> dict[str, Any]:
        return {
            "weights": dict(zip(self.parts, self.weights, strict=True)),
            "normalisation": self.normalisation,
            "depth": self.depth,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`as_json` wrote."""
        weights = values["weights"]
        return cls(tuple(weights), tuple(weights.values()), values["normalisation"], values["depth"])


def first(lists: Recommendations, depth: int) -> Recommendations:
    """The first ``depth`` items of each list."""
    return Recommendations(lists.items[:, :depth], lists.scores[:, :depth])


def rows_of(lists: list[Recommendations]) -> int:
    """The number of rows that all lists have.

    Raises:
        ValueError: they differ.
    """
    rows = {len(part.items) for part in lists}
    if len(rows) != 1:
        raise ValueError(f"the parts have lists for different numbers of histories: {sorted(rows)}")
    return rows.pop()


def in_blocks(
    lists: list[Recommendations], normalisation: Normalisation, items: int
) -> Iterator[tuple[slice, Candidates]]:
    """The candidates of some rows at a time, so that memory does not grow with the number of rows."""
    rows = rows_of(lists)
    step = max(1, _CELLS_AT_ONCE // max(1, sum(part.items.shape[1] for part in lists)))
    for start in range(0, rows, step):
        block = slice(start, min(start + step, rows))
        parts = [Recommendations(part.items[block], part.scores[block]) for part in lists]
        values = [normalised(part, normalisation) for part in parts]
        yield block, candidates_of(parts, [own for own, _ in values], [floor for _, floor in values], items)
