"""What recommenders are worth in each temporal fold, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ml.data.folds import FoldSizes
from ml.evaluation.significance import Compared


@dataclass(frozen=True)
class OverFolds:
    """One recommender in all folds.

    Attributes:
        recommender: its name.
        title: for readers.
        ndcg: nDCG@10 in each fold, the earliest first.
        recall: Recall@10 in each fold.
        places: place by nDCG@10 in each fold, the best 1; equal values share the better place.
        mean: of nDCG@10 over the folds, each of which counts the same.
        deviation: standard deviation of nDCG@10 between the folds; nan with one fold.
        compared: with the recommender of the highest mean; ``None`` of that one itself.
    """

    recommender: str
    title: str
    ndcg: tuple[float, ...]
    recall: tuple[float, ...]
    places: tuple[int, ...]
    mean: float
    deviation: float
    compared: Compared | None = None


@dataclass(frozen=True)
class FoldResults:
    """All recommenders in all folds.

    Attributes:
        folds: dates and sizes, the earliest first; empty where the split has no folds.
        rows: one recommender each, the highest mean first.
        users: different users who are tested.
        users_in_several: of these in more than one fold.
    """

    folds: tuple[FoldSizes, ...] = ()
    rows: tuple[OverFolds, ...] = ()
    users: int = 0
    users_in_several: int = 0

    @property
    def winners(self) -> tuple[OverFolds, ...]:
        """The best of each fold, the earliest first; of several with one value the one with the higher mean."""
        return tuple(next(row for row in self.rows if row.places[at] == 1) for at in range(len(self.folds)))

    @property
    def changes_of_winner(self) -> int:
        """How many folds have another winner than the fold before."""
        names = [row.recommender for row in self.winners]
        return sum(one != before for before, one in pairwise(names))
