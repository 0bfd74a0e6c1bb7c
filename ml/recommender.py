"""The one protocol that every recommender keeps, from a popularity count to a transformer.

``fit`` on a training set, ``recommend`` for histories, ``save`` to a folder, ``load`` from it. The suite in
``tests/unit/test_recommenders.py`` holds for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet

NO_ITEM = -1

# The kinds of recommenders: training-free, trained from a recipe, the lists of several of these combined, or those of
# one of them re-ranked.
BASELINE = "baseline"
MODEL = "model"
FUSION = "fusion"
RERANKING = "reranking"
ALIGNMENT = "alignment"
LANGUAGE_MODEL = "language_model"
KINDS = (BASELINE, MODEL, FUSION, RERANKING, ALIGNMENT, LANGUAGE_MODEL)


@dataclass(frozen=True)
class Recommendations:
    """Ranked items for each history.

    Attributes:
        items: item indices, best first, int32 ``[rows, k]``; ``NO_ITEM`` fills lists that are shorter than k.
        scores: their scores, float32 ``[rows, k]``, never rising within a row; ``-inf`` beside ``NO_ITEM``.
    """

    items: np.ndarray
    scores: np.ndarray


@runtime_checkable
class Recommender(Protocol):
    """The interface of a recommender."""

    def fit(self, training_set: TrainingSet) -> Self:
        """Learn from the training histories alone; held-out targets are never read, except validation
        targets by a model that chooses its stopping point."""

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The k best items of the whole catalogue for each history, oldest item first.

        An empty history is allowed. ``exclude_seen`` leaves out the items of the history itself. Fewer than k
        items are returned only when the catalogue (less what is excluded) holds fewer. Equal input gives
        equal output, also in another process; no item appears twice in a row.
        """

    def save(self, folder: Path) -> None:
        """Write what ``load`` needs into an existing folder: JSON, npy, safetensors; never a pickle."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
