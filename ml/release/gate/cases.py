"""Champion and candidate on the same cases: the test users of the new training set, under its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.evaluation.metrics import HEADLINE, mean_metrics, metric_values
from ml.evaluation.rankings import rank
from ml.evaluation.slices import slices_of
from ml.recommender import NO_ITEM, Recommendations
from ml.release.gate.bounds import NEW_ITEMS, SHORT_HISTORIES, TAIL_ITEMS
from ml.release.gate.findings import CANDIDATE, CHAMPION, MOST_POPULAR, Cases

if TYPE_CHECKING:
    from ml.release.bundle import Bundle

# length of the lists that are compared
BEST = 10
# buckets of the slice "history length" that count as short, and of "target popularity" as tail
_SHORT, _TAIL = 3, 2


class OnNewCatalogue:
    """A bundle as a recommender for another training set, translated by item ids.

    Items of a history that the bundle does not know are skipped. Items that are gone from the new catalogue are left
    out of the lists, which the next best fill. Items that are new are never recommended: the bundle does not know
    them. Users are not known to a bundle.

    Args:
        bundle: fitted on some other data.
        training_set: whose histories it is asked for.
    """

    def __init__(self, bundle: Bundle, training_set: TrainingSet) -> None:
        self._bundle = bundle
        common, own, new = np.intersect1d(
            bundle.item_ids, np.asarray(training_set.item_ids), assume_unique=True, return_indices=True
        )
        self._to_own = np.full(training_set.items, NO_ITEM, dtype=np.int32)
        self._to_own[new] = own
        self._to_new = np.full(bundle.items, NO_ITEM, dtype=np.int32)
        self._to_new[own] = new
        self._mask = None if len(common) == bundle.items else self._to_new != NO_ITEM

    @property
    def knows(self) -> np.ndarray:
        """Which items of the new catalogue the bundle knows, bool ``[items]``."""
        return self._to_own != NO_ITEM

    def translated(self, histories: Sequences) -> Sequences:
        """Histories of the new catalogue in the item indices of the bundle."""
        own = self._to_own[histories.items]
        known = own != NO_ITEM
        before = np.concatenate([[0], np.cumsum(known)]).astype(np.int64)
        times = None if histories.times is None else np.asarray(histories.times)[known]
        return Sequences(own[known], before[np.asarray(histories.offsets)], times=times)

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The k best items of the new catalogue, in its indices."""
        known = self.translated(histories)
        answer = self._bundle.ranked(known, min(k, self._bundle.items), exclude_seen, self._mask)
        items = np.full((len(histories), k), NO_ITEM, dtype=np.int32)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        width = answer.items.shape[1]
        items[:, :width] = np.where(answer.items == NO_ITEM, NO_ITEM, self._to_new[answer.items])
        scores[:, :width] = answer.scores
        return Recommendations(items, scores)

    def fit(self, training_set: TrainingSet) -> Self:
        raise NotImplementedError("a bundle is fitted already")

    def save(self, folder: Path) -> None:
        raise NotImplementedError("a bundle is copied, not saved")

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError("give a bundle to the class itself")


def champion_rankings(champion: OnNewCatalogue, training_set: TrainingSet, exclude_seen: bool, seed: int) -> pa.Table:
    """The lists of the champion for the test users of the new training set, :data:`BEST` items long.

    A target that the champion does not know is in none of its lists, so it counts as a miss.
    """
    return rank(champion, training_set, CHAMPION, seed, depth=BEST, exclude_seen=exclude_seen)


def measured_cases(
    training_set: TrainingSet,
    candidate: pa.Table,
    most_popular: pa.Table,
    champion: pa.Table | None = None,
    champion_knows: np.ndarray | None = None,
) -> Cases:
    """nDCG@10 of each test user: the case is the user, also where several targets of one are held out.

    Args:
        training_set: that all were ranked for.
        candidate: its user metrics (:func:`ml.evaluation.metrics.user_metrics`).
        most_popular: those of the most popular items.
        champion: those of the champion, where there is one.
        champion_knows: which items the champion knows, bool ``[items]``.
    """
    others = {MOST_POPULAR: metric_values(most_popular, HEADLINE)}
    if champion is not None:
        others[CHAMPION] = metric_values(champion, HEADLINE)
    return Cases(metric_values(candidate, HEADLINE), others, slices_for_the_gate(training_set, champion_knows))


def slices_for_the_gate(training_set: TrainingSet, champion_knows: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The users of each slice, bool ``[test users]``: the parts of :func:`ml.evaluation.slices.slices_of` that a new
    release may harm unseen. A user with several targets is in the slice of tail items, or of new ones, where one of the
    targets is such an item."""
    parts = {part.name: part for part in slices_of(training_set)}
    new = parts["target in training"].buckets == 1
    if champion_knows is not None:
        held_out = training_set.held_out()
        case = held_out.row_of_each
        new |= np.bincount(case, ~champion_knows[held_out.items], len(held_out)) > 0
    return {
        SHORT_HISTORIES: parts["history length"].buckets < _SHORT,
        TAIL_ITEMS: parts["target popularity"].buckets == _TAIL,
        NEW_ITEMS: new,
    }


def metrics_of(cases: Cases, tables: Mapping[str, pa.Table]) -> dict[str, dict[str, float]]:
    """Metrics of each recommender on all test users, and nDCG@10 on each slice that holds somebody.

    Args:
        cases: of the same recommenders.
        tables: their user metrics, by ``candidate``, ``champion`` and ``most_popular``.
    """
    found = {}
    for name, table in tables.items():
        values = cases.candidate if name == CANDIDATE else cases.others[name]
        means = {metric: value for metric, value in mean_metrics(table).items() if metric.endswith(f"@{BEST}")}
        of_slices = {
            f"{HEADLINE} {part}": float(values[rows].mean()) for part, rows in cases.slices.items() if any(rows)
        }
        found[name] = means | of_slices
    return found


def best_lists(rankings: pa.Table, training_set: TrainingSet, k: int = BEST) -> np.ndarray:
    """The k best items of each test user as a matrix, int32 ``[test users, k]``; ``NO_ITEM`` fills shorter lists."""
    users, ranks = rankings["user_index"].to_numpy(), rankings["rank"].to_numpy()
    kept = ranks <= k
    row_of = np.zeros(training_set.users, dtype=np.int64)
    row_of[training_set.test_users] = np.arange(len(training_set.test_users))
    lists = np.full((len(training_set.test_users), k), NO_ITEM, dtype=np.int32)
    lists[row_of[users[kept]], ranks[kept] - 1] = rankings["item_index"].to_numpy()[kept]
    return lists
