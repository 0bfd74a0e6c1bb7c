"""The training set of a made-up dataset, for tests of assets that read one from a workspace."""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet

ITEMS = 40


def small_training_set(item_text: tuple[str, ...] | None = None) -> TrainingSet:
    """60 users with five items each, one more to validate with and one to test; equal at each call."""
    random = np.random.default_rng(0)
    users = np.arange(60, dtype=np.int32)
    return TrainingSet(
        dataset="Small",
        item_ids=np.array([f"B{item:03d}" for item in range(ITEMS)], dtype="S"),
        user_ids=np.array([f"U{user:03d}" for user in range(60)], dtype="S"),
        train=Sequences.from_lists([random.integers(ITEMS, size=5).tolist() for _ in range(60)]),
        validation_users=users,
        validation_targets=random.integers(ITEMS, size=60).astype(np.int32),
        test_users=users,
        test_targets=random.integers(ITEMS, size=60).astype(np.int32),
        item_text=item_text,
    )
