"""The temporal folds of a dataset, as its settings ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.dataset_settings import read_settings
from orchestration.paths import DatasetPaths

if TYPE_CHECKING:
    from ml.data.folds import Fold
    from ml.data.timed_interactions import Interactions
    from ml.data.training_set import TrainingSet


def asks_for_folds(dataset: str) -> bool:
    """Whether the split of a dataset is ``temporal-folds``."""
    from ml.data.folds import TEMPORAL_FOLDS

    return read_settings("folds", dataset)["split"] == TEMPORAL_FOLDS


def folds_of(paths: DatasetPaths, training_set: TrainingSet) -> tuple[tuple[Fold, ...], Interactions]:
    """The folds of a dataset that asks for them, and the interactions that they divide.

    Raises:
        FoldError: there can be no such folds.
    """
    from ml.data.folds import temporal_folds
    from ml.data.timed_interactions import read_interactions

    settings = read_settings("folds", paths.dataset)
    interactions = read_interactions(paths.table("marts", "interactions"), paths.table("marts", "splits"), training_set)
    last = (settings["validation_from"], settings["test_from"])
    folds = temporal_folds(training_set, interactions, last, settings["folds"], settings["fold_days"])
    return folds, interactions
