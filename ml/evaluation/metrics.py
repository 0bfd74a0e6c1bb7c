"""Metrics of rankings, by ranx.

Every test user has one relevant item, so at a cut-off k recall is 1 where it is among the first k items,
nDCG is ``1 / log2(rank + 1)`` and the reciprocal rank ``1 / rank`` there, each 0 elsewhere. At 1 all three
are equal, and are kept once, as ``recall@1``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from ml.data.training_set import TrainingSet
from ml.evaluation.rankings import RankingError, facts

HEADLINE = "ndcg@10"
METRICS = (
    "recall@1",
    "recall@5",
    "recall@10",
    "recall@20",
    "ndcg@5",
    "ndcg@10",
    "ndcg@20",
    "mrr@5",
    "mrr@10",
    "mrr@20",
)
# the threads that ranx has numba use end the process when two callers meet in them
_ONE_AT_A_TIME = threading.Lock()


def metrics_of_depth(depth: int) -> tuple[str, ...]:
    """Those of :data:`METRICS` that rankings of this depth hold enough for."""
    return tuple(metric for metric in METRICS if int(metric.split("@")[1]) <= depth)


def user_metrics(rankings: pa.Table, training_set: TrainingSet) -> pa.Table:
    """The metrics of every test user, one row each, by ascending ``user_index``.

    Columns: ``user_index`` (int32), ``recommender``, ``seed`` (int32), then each of :data:`METRICS` that the
    depth of the rankings allows (float64). A user without a ranked item has 0 everywhere. The ranks of the
    table are kept as they are: scores are not sorted again, so ties stay as the recommender broke them.

    The numbers are ranx's (Bassani, "ranx: a blazing-fast Python library for ranking evaluation and
    comparison", ECIR 2022); it compiles its metrics on first use on a machine (some ten seconds), and numba
    caches them.

    Args:
        rankings: of :func:`ml.evaluation.rankings.rank`.
        training_set: that was ranked for.

    Raises:
        RankingError: the rankings are too short for any metric, or hold a user who is not tested.
    """
    # imported here: ranx brings numba, pandas and matplotlib
    from ranx import evaluate

    known = facts(rankings)
    depth = known["depth"]
    metrics = metrics_of_depth(depth)
    if not metrics:
        raise RankingError(f"no metric can be computed from rankings of depth {depth}")
    users = training_set.test_users
    # ranx takes arrays of (document, score), sorted: the fastest of its inputs, and no string is made
    run = np.full((len(users), depth, 2), -1.0)
    ranked_user = rankings["user_index"].to_numpy()
    row = np.searchsorted(users, ranked_user)
    if len(ranked_user) and (row.max() >= len(users) or (users[row] != ranked_user).any()):
        raise RankingError(f"the rankings of {known['recommender']} hold a user who is not tested: rank again")
    place = rankings["rank"].to_numpy() - 1
    run[row, place, 0] = rankings["item_index"].to_numpy()
    run[:, :, 1] = -np.arange(depth)
    relevant = np.ones((len(users), 1, 2))
    relevant[:, 0, 0] = training_set.test_targets
    values = {}
    if len(users):
        with _ONE_AT_A_TIME:
            # all of them, whatever the depth: ranx 0.3.21 fails on a single metric by user
            values = evaluate(relevant, run, list(METRICS), return_mean=False)
    columns = {
        "user_index": pa.array(users, pa.int32()),
        "recommender": pa.array([known["recommender"]] * len(users), pa.string()),
        "seed": pa.array(np.full(len(users), known["seed"], dtype=np.int32)),
    }
    columns |= {metric: pa.array(values.get(metric, []), pa.float64()) for metric in metrics}
    return pa.table(columns).replace_schema_metadata(rankings.schema.metadata)


def mean_metrics(per_user: pa.Table) -> Mapping[str, float]:
    """Mean over users of every metric column of :func:`user_metrics`.

    Raises:
        RankingError: there is no user to take a mean over.
    """
    if per_user.num_rows == 0:
        raise RankingError("there is no test user, so there are no metrics")
    return {metric: float(per_user[metric].to_numpy().mean()) for metric in METRICS if metric in per_user.schema.names}
