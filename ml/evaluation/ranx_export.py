"""Rankings as runs and relevance judgements of ranx, for its comparisons, fusions and LaTeX tables.

ranx (Bassani, "ranx: a blazing-fast Python library for ranking evaluation and comparison", ECIR 2022) comes with the
extra ``report``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ml.data.training_set import TrainingSet
from ml.evaluation.rankings import facts
from ml.extras import require

if TYPE_CHECKING:
    import ranx


def to_run(rankings: pa.Table, training_set: TrainingSet) -> ranx.Run:
    """Rankings of one recommender as a run.

    Scores of a run are ``depth - rank``, because ranx orders equal scores by its own rule, and the rankings have one
    already.

    Args:
        rankings: a table of :func:`ml.evaluation.rankings.rank`.
        training_set: the training set that was ranked for; its ids name users and items.

    Returns:
        A run with the name of the recommender, its seed and the dataset in its metadata.

    Raises:
        MissingExtra: ranx is not installed.
    """
    require("report", "an export to ranx", ("ranx",))
    import ranx

    known = facts(rankings)
    run: dict[str, dict[str, float]] = {user: {} for user in _names(training_set.user_ids[training_set.test_users])}
    users = _names(training_set.user_ids[rankings["user_index"].to_numpy()])
    items = _names(training_set.item_ids[rankings["item_index"].to_numpy()])
    scores = (known["depth"] - rankings["rank"].to_numpy()).astype(np.float64).tolist()
    for user, item, score in zip(users, items, scores, strict=True):
        run[user][item] = score
    named = ranx.Run(run, name=known["recommender"])
    named.metadata = {name: known[name] for name in ("dataset", "seed", "exclude_seen")}
    return named


def to_qrels(training_set: TrainingSet) -> ranx.Qrels:
    """The held-out test items of each user as relevance judgements.

    Args:
        training_set: the training set whose test cases are judged.

    Raises:
        MissingExtra: ranx is not installed.
    """
    require("report", "an export to ranx", ("ranx",))
    import ranx

    relevant = training_set.relevant()
    users = _names(training_set.user_ids[np.repeat(training_set.test_users, relevant.lengths)])
    judged: dict[str, dict[str, int]] = {}
    for user, item in zip(users, _names(training_set.item_ids[relevant.items]), strict=True):
        judged.setdefault(user, {})[item] = 1
    return ranx.Qrels(judged, name=training_set.dataset)


def _names(ids: np.ndarray) -> list[str]:
    """Ids as text; bytes that are no UTF-8 are escaped, so that different ids stay different."""
    return [value.decode("utf-8", "backslashreplace") for value in ids.tolist()]
