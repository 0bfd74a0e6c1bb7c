"""The temporal folds of a dataset, as its settings ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.dataset_settings import read_settings
from orchestration.paths import DatasetPaths

if TYPE_CHECKING:
    from ml.data.folds import Fold
    from ml.data.timed_interactions import Interactions
    from ml.data.training_set import TrainingSet


def folds_of(paths: DatasetPaths, training_set: TrainingSet) -> tuple[tuple[Fold, ...], Interactions] | None:
    """The folds of a dataset, and the interactions that they divide; ``None`` under another split than
    ``temporal-folds``.

    Raises:
        FoldError: there can be no such folds.
    """
    from ml.data.folds import TEMPORAL_FOLDS, temporal_folds
    from ml.data.timed_interactions import read_interactions

    settings = read_settings("folds", paths.dataset)
    if settings["split"] != TEMPORAL_FOLDS:
        return None
    interactions = read_interactions(paths.table("marts", "interactions"), paths.table("marts", "splits"), training_set)
    last = (settings["validation_from"], settings["test_from"])
    folds = temporal_folds(training_set, interactions, last, settings["folds"], settings["fold_days"])
    return folds, interactions
