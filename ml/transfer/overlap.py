"""Users and items that a dataset shares with those that a model was pre-trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.data.training_set import TrainingSet


@dataclass(frozen=True)
class Overlap:
    """What a dataset shares with its sources, by id.

    Attributes:
        users: of the dataset that have a training history in a source.
        test_users: of these, those that are tested.
        tested: all test users.
        items: of the dataset that are in a training history of a source.
    """

    users: int
    test_users: int
    tested: int
    items: int

    @property
    def sentence(self) -> str:
        """A warning; empty where no test user is in a source."""
        if not self.test_users:
            return ""
        return (
            f"{self.test_users:,} of {self.tested:,} test users also have a history in a dataset of the pre-training. "
            "What they did there may be later than what is to be predicted here, so the measured gain may be too high"
        )


def overlap(target: TrainingSet, sources: Sequence[TrainingSet]) -> Overlap:
    """Count what is shared. An id stands for the same user or item in all datasets, as in those of one platform.

    Args:
        target: the dataset that is recommended for.
        sources: those that a model was pre-trained on.
    """
    users = np.zeros(target.users, dtype=bool)
    items = np.zeros(target.items, dtype=bool)
    for source in sources:
        users |= np.isin(target.user_ids, source.user_ids[source.train.lengths > 0])
        items |= np.isin(target.item_ids, source.item_ids[np.unique(source.train.items)])
    tested = np.unique(target.test_users)
    return Overlap(int(users.sum()), int(users[tested].sum()), len(tested), int(items.sum()))
