"""A made-up catalogue of a few items, and releases of baselines fitted on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ml.baselines.registry import BASELINES
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.data.versions import versioned_folder
from ml.recommenders.registry import library_registry
from ml.release.write_bundle import write_bundle

HISTORIES = ["abc", "abd", "abce", "bcd", "cdab", "aab"]
ITEMS = "abcde"


def training_set(items: str = ITEMS) -> TrainingSet:
    return TrainingSet(
        dataset="Toys",
        item_ids=np.array([item.encode() for item in items]),
        user_ids=np.array([f"u{n}".encode() for n in range(len(HISTORIES))]),
        train=Sequences.from_lists([[items.index(item) for item in history] for history in HISTORIES]),
        validation_users=np.empty(0, dtype=np.int32),
        validation_targets=np.empty(0, dtype=np.int32),
        test_users=np.empty(0, dtype=np.int32),
        test_targets=np.empty(0, dtype=np.int32),
    )


def release(place: Path, scratch: Path, name: str = "markov_chain", items: str = ITEMS) -> None:
    """Make a recommender the current version of a place."""
    fitted = scratch / f"fitted-{name}-{len(items)}" / name
    fitted.mkdir(parents=True, exist_ok=True)
    data = training_set(items)
    BASELINES[name].create(0).fit(data).save(fitted)
    titles = {item: f"Title of {item}" for item in items}
    with versioned_folder(place) as folder:
        write_bundle(folder, name, lambda part: fitted.parent / part, library_registry(), data, titles, {})
