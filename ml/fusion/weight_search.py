"""The search for the weights of a fusion, on the validation users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.fusion.candidates import Candidates, weighted_scores
from ml.fusion.fusion import DEPTH, Fusion, first, in_blocks, rows_of
from ml.fusion.normalisation import NORMALISATIONS, Normalisation
from ml.recommender import Recommendations

CUT_OFF = 10
# weights are whole numbers of fortieths, so that sums of steps are exact
_UNITS = 40
_STEPS = (8, 4, 2, 1)


@dataclass(frozen=True)
class ChosenFusion:
    """A fusion and what it was chosen by.

    Attributes:
        fusion: the chosen one.
        validation_ndcg_at_10: of its lists.
        of_parts: of each part's own lists, by name.
        of_normalisations: of the best weights found with each normalisation.
    """

    fusion: Fusion
    validation_ndcg_at_10: float
    of_parts: dict[str, float]
    of_normalisations: dict[str, float]


def choose_fusion(
    lists: Mapping[str, Recommendations],
    targets: np.ndarray,
    items: int,
    normalisations: Sequence[Normalisation] = NORMALISATIONS,
    depth: int = DEPTH,
) -> ChosenFusion:
    """The weights and the normalisation with the highest validation nDCG@10.

    For each normalisation the search starts once from equal weights and once from all weight on the best part, moves
    weight from one part to another while that helps, and then does so in half the step, down to a fortieth. It is
    deterministic; of equal results the first found is kept, so equal weights win over others that are no better.

    Args:
        lists: validation lists of each part by its name, of recommenders that were fitted on the training items alone.
        targets: the held-out item of each row, int ``[rows]``.
        items: size of the catalogue.
        normalisations: to choose from.
        depth: how many items of each list are looked at.

    Returns:
        The fusion, and what it reached. Each candidate of a row whose target any part lists takes 12 bytes, and 4 for
        each part.

    Raises:
        ValueError: there is no part, no normalisation or no row, or the shapes do not fit.
    """
    names = sorted(lists)
    if not names or not normalisations:
        raise ValueError("a fusion is chosen among at least one part and one normalisation")
    cut = [first(lists[name], depth) for name in names]
    if rows_of(cut) != len(targets) or not len(targets):
        raise ValueError(f"{rows_of(cut)} validation lists for {len(targets)} targets; there must be one each")
    targets = np.asarray(targets)
    best: tuple[float, Fusion] | None = None
    of_parts: dict[str, float] = {}
    of_normalisations: dict[str, float] = {}
    for normalisation in normalisations:
        trial = _Trial(cut, targets, normalisation, items)
        weights, quality = _search(trial, len(names))
        of_normalisations[normalisation] = quality
        if not of_parts:
            of_parts = {name: trial(alone) for name, alone in zip(names, _alone(len(names)), strict=True)}
        if best is None or quality > best[0]:
            shares = tuple(int(units) / _UNITS for units in weights)
            best = quality, Fusion(tuple(names), shares, normalisation, depth)
    assert best is not None  # there is a normalisation
    return ChosenFusion(best[1], best[0], of_parts, of_normalisations)


class _Trial:
    """nDCG@10 of any weights, in the units of the search."""

    def __init__(
        self, lists: list[Recommendations], targets: np.ndarray, normalisation: Normalisation, items: int
    ) -> None:
        self.rows = len(targets)
        # the target of every other row is beyond what weights can reach
        listed = np.zeros(self.rows, dtype=bool)
        for part in lists:
            listed |= (part.items == targets[:, None]).any(axis=1)
        kept = [Recommendations(part.items[listed], part.scores[listed]) for part in lists]
        self.blocks: list[tuple[Candidates, np.ndarray]] = []
        for block, candidates in in_blocks(kept, normalisation, items):
            column = (candidates.items == targets[listed][block][:, None]).argmax(axis=1)
            self.blocks.append((candidates, column[:, None]))

    def __call__(self, units: np.ndarray) -> float:
        gain = 0.0
        for candidates, column in self.blocks:
            scores = weighted_scores(candidates, units / _UNITS)
            own = np.take_along_axis(scores, column, axis=1)
            ahead = (scores > own).sum(axis=1)
            # columns stand in the order of ties
            ahead += ((scores == own) & (np.arange(scores.shape[1]) < column)).sum(axis=1)
            is_hit = (ahead < CUT_OFF) & (own[:, 0] > -np.inf)
            gain += float(np.where(is_hit, 1 / np.log2(2 + ahead), 0).sum())
        return gain / self.rows


def _alone(parts: int) -> np.ndarray:
    """All weight on one part, int ``[parts, parts]``."""
    return _UNITS * np.eye(parts, dtype=np.int64)


def _equal(parts: int) -> np.ndarray:
    """Weights as equal as whole units allow, int ``[parts]``."""
    return np.diff(_UNITS * np.arange(parts + 1) // parts)


def _search(trial: _Trial, parts: int) -> tuple[np.ndarray, float]:
    starts = [_equal(parts), max(_alone(parts), key=trial)]
    found = [_climb(trial, start) for start in starts]
    return max(found, key=lambda pair: pair[1])


def _climb(trial: _Trial, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Move weight between two parts while that helps, in smaller and smaller steps."""
    quality = trial(weights)
    for step in _STEPS:
        moved = True
        while moved:
            moved = False
            for giver in range(len(weights)):
                for taker in range(len(weights)):
                    if giver == taker or weights[giver] < step:
                        continue
                    other = weights.copy()
                    other[giver] -= step
                    other[taker] += step
                    gained = trial(other)
                    if gained > quality:
                        weights, quality, moved = other, gained, True
    return weights, quality
