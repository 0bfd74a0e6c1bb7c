"""Validation of a policy: nDCG@10 and goal of the greedy lists of validation users. Test targets are never read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.beyond_accuracy.goals import GoalOnData
from ml.beyond_accuracy.measures import ndcg
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.recommender import Recommender
from ml.training.reproducible import generator_for

# places of a list that are validated, where it has as many
DEPTH = 10
# of the random numbers of alignments, apart from those of trainings
PLACE = 0x616C69676E


@dataclass(frozen=True)
class Quality:
    """Of greedy lists.

    Attributes:
        ndcg: nDCG@10; of the whole list where it is shorter.
        goal: mean measure of the lists for which it is defined; ``None`` where it is for none.
        higher_is_better: whether that is good.
    """

    ndcg: float
    goal: float | None
    higher_is_better: bool

    def reward(self, accuracy_weight: float, weight: float) -> float:
        """Both weighted and added up, as in the reward of a list."""
        signed = (self.goal or 0.0) * (1 if self.higher_is_better else -1)
        return accuracy_weight * self.ndcg + weight * signed


@dataclass(frozen=True)
class Validation:
    """Users to validate with.

    Attributes:
        histories: ``[users]`` rows.
        targets: item index of each, int ``[users]``.
        goal: measures the lists.
        exclude_seen: whether lists leave the items of the histories out.
        depth: length of the lists.
    """

    histories: Sequences
    targets: np.ndarray
    goal: GoalOnData
    exclude_seen: bool
    depth: int

    def quality(self, recommender: Recommender) -> Quality:
        """Of the lists of a recommender."""
        lists = recommender.recommend(self.histories, self.depth, self.exclude_seen).items
        measured = self.goal.measure(lists, self.histories)
        defined = measured[~np.isnan(measured)]
        return Quality(
            float(ndcg(lists, self.targets).mean()),
            float(defined.mean()) if len(defined) else None,
            self.goal.goal.higher_is_better,
        )


def validation_of(
    training_set: TrainingSet, goal: GoalOnData, exclude_seen: bool, list_length: int, most_users: int, seed: int
) -> Validation | None:
    """The validation users, or a sample of them; ``None`` where there are none.

    Args:
        training_set: whose they are.
        goal: measures lists.
        exclude_seen: whether lists leave the items of the histories out.
        list_length: of the lists that are written; up to 10 places are looked at.
        most_users: a sample of so many where there are more; 0 for all.
        seed: draws the sample.
    """
    users = len(training_set.validation_users)
    if users == 0:
        return None
    rows = np.arange(users)
    if 0 < most_users < users:
        rows = np.sort(generator_for(seed, PLACE, 0).choice(users, most_users, replace=False))
    histories = training_set.histories("validation").take(rows)
    return Validation(
        histories, np.asarray(training_set.validation_targets)[rows], goal, exclude_seen, min(DEPTH, list_length)
    )
