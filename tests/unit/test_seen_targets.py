"""Test targets that their user has had before."""

import numpy as np

from ml.data.build_training_set import divided
from ml.data.training_set import TrainingSet
from orchestration.contracts.frames import seen_targets


def test_targets_in_the_history_are_counted_once_a_user():
    # user 0 comes back to item 0 twice over; user 1 meets a new item
    users, items = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0, 1, 0, 0, 0, 1, 2])
    splits = np.array([0, 0, 2, 3, 0, 0, 3])
    training_set = TrainingSet(
        dataset="Small",
        item_ids=np.array([b"a", b"b", b"c"]),
        user_ids=np.array([b"u", b"v"]),
        protocol={},
        **divided(users, items, splits, 2),
    )
    assert seen_targets(training_set) == 1
