"""Targets that are in the history of their user already."""

from __future__ import annotations

import numpy as np

from ml.data.training_set import TrainingSet


def in_history(training_set: TrainingSet) -> np.ndarray:
    """Which targets of :meth:`~ml.data.training_set.TrainingSet.held_out` are in the history of their user already,
    bool ``[test targets]``."""
    known, wanted = training_set.histories("test"), training_set.held_out()
    return np.isin(wanted.pairs(training_set.items), known.pairs(training_set.items))
