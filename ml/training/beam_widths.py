"""Beam width against exactness: what narrower beams would have changed in the lists of a trained model.

The lists of the widest beam are what the others are compared with, since scoring all items one path at a time would
take hours where a catalogue is large. How many of them are certified to be exact is stated beside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ml.data.training_set import TrainingSet
from ml.models.generating_model import GeneratingModel
from ml.models.settings import writes_lists
from ml.recommender import Recommender
from ml.training.generating import generate, ranks_in_lists
from ml.training.reproducible import reproducible
from ml.training.scoring import ndcg
from ml.training.sequential_recommender import SequentialRecommender

WIDTHS = (10, 20, 50, 100)
WIDEST = 400
USERS = 500
_DEPTH = 10


def compare_beam_widths(
    recommender: Recommender, training_set: TrainingSet, exclude_seen: bool, users: int = USERS
) -> dict[str, Any] | None:
    """Lists of ten for some test users from beams of several widths, without a repetition where one is not certified.

    Args:
        recommender: trained on the training set.
        training_set: whose test users are ranked for, at even steps; those without a history are left out.
        exclude_seen: leave out the items of a history. The beam of a user is then wide enough for ten items beside them
            even where the width is smaller.
        users: at most so many.

    Returns:
        JSON values: the number of ``users``; ``reference_width``, the width that the others are compared with, at most
        the catalogue; ``reference_certified``, the share of its lists that are certified to be exact; and ``widths``,
        for each width up to the reference the share of lists that are ``certified``, the share that are ``equal`` to
        the reference item by item, and ``ndcg@10``. ``None`` for a recommender that does not search or that writes its
        lists item by item, and where no test user has a history.
    """
    if not isinstance(recommender, SequentialRecommender):
        return None
    model = recommender.model
    if not isinstance(model, GeneratingModel) or not model.beam_width or writes_lists(recommender.recipe.model):
        return None
    histories = training_set.histories("test")
    filled = np.flatnonzero(histories.lengths > 0)
    if len(filled) == 0:
        return None
    rows = filled[np.unique(np.linspace(0, len(filled) - 1, min(users, len(filled))).astype(np.int64))]
    histories, targets = histories.take(rows), np.asarray(training_set.test_targets)[rows]
    depth, widest = min(_DEPTH, model.items), min(WIDEST, model.items)
    lists, certified = {}, {}
    with reproducible(recommender.execution.threads, model.device):
        for width in (*(width for width in WIDTHS if width < widest), widest):
            found, counts = generate(
                model, recommender.task, histories, depth, exclude_seen, recommender.training_counts, width, width
            )
            lists[width], certified[width] = found.items, counts.certified / len(rows)
    reference = lists[widest]
    return {
        "users": len(rows),
        "reference_width": widest,
        "reference_certified": certified[widest],
        "widths": [
            {
                "width": width,
                "certified": certified[width],
                "equal": float((items == reference).all(axis=1).mean()),
                "ndcg@10": ndcg(ranks_in_lists(items, targets), depth),
            }
            for width, items in lists.items()
        ],
    }
