"""Metrics of rankings over the whole catalogue.

Where a test user has one held-out item, every metric is a function of its rank ``r`` in the list: at a cut-off k, where
``r <= k``, recall (which is then the hit rate) is 1, nDCG ``1 / log2(r + 1)``, reciprocal rank and average precision
``1 / r``, precision ``1 / k``; each is 0 elsewhere, and for an item that is not in the list. What is kept of a user is
therefore the rank alone (:func:`user_metrics`), and any metric is read from a table of ranks (:func:`metric_values`).

Where a split holds out several items a user, the ranks of all that are in the list are kept, and how many there are;
metrics are then those of :func:`relevance_metrics`, which for one relevant item equal the above. An item that is held
out twice is one relevant item.

All of them are defined as ranx defines them (Bassani, "ranx: a blazing-fast Python library for ranking evaluation and
comparison", ECIR 2022), and equal it to 1e-9 by test: precision divides by k however short the list is, average
precision by the number of relevant items, and a user without a relevant item has 0 everywhere.

Metrics over a sample of candidates are not offered: they do not order recommenders as the whole catalogue does
(Krichene and Rendle, "On sampled metrics for item recommendation", KDD 2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.beyond_accuracy import measures
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.evaluation.rankings import BLOCK, RankingError, facts
from ml.evaluation.significance import SeedValues

HEADLINE = "ndcg@10"
CUT_OFFS = (1, 5, 10, 20, 100)
METRICS = tuple(f"{name}@{k}" for name in ("recall", "ndcg", "mrr", "map", "precision") for k in CUT_OFFS)
_NAMES = ("recall", "hit_rate", "ndcg", "mrr", "map", "precision")
# equal scores at this rank and the next: the tie rule chose the last item of the list that the headline looks at
_CUT = int(HEADLINE.split("@")[1])
_NOT_TESTED = -2
_NOT_RANKED = np.iinfo(np.int16).max

METRIC_NAMES = {"ndcg": "nDCG", "recall": "Recall", "mrr": "MRR", "map": "MAP", "precision": "Precision"}
"""Metrics as they are printed, in the order of tables."""


def metric_name(metric: str) -> str:
    """``ndcg@10`` as it is printed: ``nDCG@10``."""
    name, _, cut_off = metric.partition("@")
    printed = METRIC_NAMES.get(name, name)
    return f"{printed}@{cut_off}" if cut_off else printed


def metrics_of_depth(depth: int) -> tuple[str, ...]:
    """The metrics of :data:`METRICS` that can be computed from rankings of this depth."""
    return tuple(metric for metric in METRICS if _cut_off(metric) <= depth)


def user_metrics(rankings: pa.Table, training_set: TrainingSet) -> pa.Table:
    """Rank of the held-out item of every test user, one row each, by ascending ``user_index``.

    Columns: ``user_index`` (int32), ``recommender``, ``seed`` (int32), ``target_rank`` (int16, 1-based, null where
    the item is not in the list) and ``cut_is_tied`` (bool): the scores at ranks 10 and 11 are equal, so that the
    tie rule decided which item is the tenth. It is false for a list that ends before, and null where the rankings
    are too short to tell. :func:`metric_values` reads any metric from the table. The ranks of the rankings are kept
    as they are: scores are not sorted again, so ties stay as the recommender broke them. Whether a target lies in
    the user's own history makes no difference.

    Where the training set has several targets a user, ``target_rank`` is the best of their ranks, and there are two
    more columns: ``targets`` (int16), how many different targets the user has, and ``further_ranks`` (list of int16),
    the ranks of the others that are in the list, ascending.

    :func:`ml.evaluation.rankings.read_rankings` refuses lists that hold an item twice; here the better of its ranks
    counts.

    Args:
        rankings: of :func:`ml.evaluation.rankings.rank`, in any order of rows.
        training_set: that was ranked for.

    Raises:
        RankingError: the rankings hold a user who is not tested.
    """
    known = facts(rankings)
    users, ranked_user = training_set.test_users, rankings["user_index"].to_numpy()
    row_of = np.full(training_set.users, _NOT_TESTED, dtype=np.int32)
    row_of[users] = np.arange(len(users))
    if len(ranked_user) and (ranked_user.min() < 0 or ranked_user.max() >= len(row_of)):
        raise _strange_user(known)
    rows = row_of[ranked_user]
    if (rows == _NOT_TESTED).any():
        raise _strange_user(known)
    ranks, ranked_item = rankings["rank"].to_numpy(), rankings["item_index"].to_numpy()
    if training_set.later_targets is None:
        hits = np.flatnonzero(ranked_item == np.asarray(training_set.test_targets)[rows])
    else:
        hits = _found_once(np.flatnonzero(_is_held_out(rows, ranked_item, training_set)), rows, ranked_item, ranks)
    target_rank = np.full(len(users), _NOT_RANKED, dtype=np.int16)
    np.minimum.at(target_rank, rows[hits], ranks[hits])

    last, next_one = (np.full(len(users), np.nan, dtype=np.float32) for _ in range(2))
    scores = rankings["score"].to_numpy()
    for rank, found in ((_CUT, last), (_CUT + 1, next_one)):
        at = np.flatnonzero(ranks == rank)
        found[rows[at]] = scores[at]
    too_short = known["depth"] <= _CUT and known["depth"] < training_set.items
    columns = {
        "user_index": pa.array(users, pa.int32()),
        "recommender": pa.array([known["recommender"]] * len(users), pa.string()),
        "seed": pa.array(np.full(len(users), known["seed"], dtype=np.int32)),
        "target_rank": pa.array(target_rank, mask=target_rank == _NOT_RANKED),
        "cut_is_tied": pa.array(last == next_one, mask=np.full(len(users), too_short)),
    }
    if training_set.later_targets is not None:
        columns |= _of_several(rows[hits], ranks[hits], target_rank, training_set)
    return pa.table(columns).replace_schema_metadata(rankings.schema.metadata)


def _is_held_out(rows: np.ndarray, items: np.ndarray, training_set: TrainingSet) -> np.ndarray:
    """Whether each item is one of the targets of the case in its row, bool ``[rows]``."""
    held_out = training_set.held_out().pairs(training_set.items)
    return np.isin(rows.astype(np.int64) * training_set.items + items, held_out)


def _found_once(hits: np.ndarray, rows: np.ndarray, items: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Of hits of one case on the same item, the one at the best rank alone."""
    order = np.lexsort((ranks[hits], items[hits], rows[hits]))
    row, item = rows[hits][order], items[hits][order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (row[1:] != row[:-1]) | (item[1:] != item[:-1])
    return hits[order[is_first]]


def _of_several(
    rows: np.ndarray, ranks: np.ndarray, target_rank: np.ndarray, training_set: TrainingSet
) -> dict[str, pa.Array]:
    """The columns ``targets`` and ``further_ranks``, from the case and the rank of each target that was found."""
    order = np.lexsort((ranks, rows))
    rows, ranks = rows[order], ranks[order]
    is_further = ranks != target_rank[rows]
    counts = np.bincount(rows[is_further], minlength=len(target_rank))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return {
        "targets": pa.array(training_set.relevant().lengths, pa.int16()),
        "further_ranks": pa.ListArray.from_arrays(pa.array(offsets), pa.array(ranks[is_further], pa.int16())),
    }


def seed_values(tables: Sequence[pa.Table], metric: str = HEADLINE) -> SeedValues:
    """A metric of each user under each seed of one recommender, from its user metrics, one table a seed."""
    by_seed = sorted(tables, key=lambda table: facts(table)["seed"])
    values = np.stack([metric_values(table, metric) for table in by_seed])
    return SeedValues(values, tuple(facts(table)["seed"] for table in by_seed))


def metric_values(per_user: pa.Table, metric: str) -> np.ndarray:
    """A metric of every user of :func:`user_metrics`, float64 ``[users]``.

    Args:
        per_user: all of it, or some of its rows.
        metric: as ``ndcg@10``: recall, hit_rate, ndcg, mrr, map or precision, at any cut-off up to the depth of the
            rankings.

    Raises:
        RankingError: there is no such metric, or the rankings are too short for it.
    """
    if _has_several(per_user):
        return _general_values(per_user, (metric,))[metric]
    worth = _worth_by_rank(metric, facts(per_user)["depth"])
    return worth[_ranks(per_user)]


def mean_metrics(per_user: pa.Table) -> dict[str, float]:
    """Mean over users of each of :data:`METRICS` that the depth of the rankings allows.

    The order of the users does not change a bit of it.

    Raises:
        RankingError: there is no user to take a mean over.
    """
    if per_user.num_rows == 0:
        raise RankingError("there is no test user, so there are no metrics")
    depth = facts(per_user)["depth"]
    if _has_several(per_user):
        values = _general_values(per_user, metrics_of_depth(depth))
        # a sum that does not depend on the order
        return {metric: math.fsum(of_users) / per_user.num_rows for metric, of_users in values.items()}
    counts = np.bincount(_ranks(per_user), minlength=depth + 1)
    return {
        metric: float((counts * _worth_by_rank(metric, depth)).sum() / per_user.num_rows)
        for metric in metrics_of_depth(depth)
    }


def _has_several(per_user: pa.Table) -> bool:
    return "targets" in per_user.column_names


def _general_values(per_user: pa.Table, metrics: Sequence[str]) -> dict[str, np.ndarray]:
    """Metrics of users with several targets, each float64 ``[users]``, a block of users at a time."""
    depth = facts(per_user)["depth"]
    for metric in metrics:
        _check_depth(metric, depth)
    found = [
        relevance_metrics(relevance, targets, metrics) for relevance, targets in _blocks_of_relevance(per_user, depth)
    ]
    return {metric: np.concatenate([np.empty(0), *(block[metric] for block in found)]) for metric in metrics}


def _blocks_of_relevance(per_user: pa.Table, depth: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Whether the item at each rank is a target, bool ``[users, depth]``, and how many targets each user has."""
    for start in range(0, per_user.num_rows, BLOCK):
        block = per_user.slice(start, BLOCK)
        # a column for "not ranked", which is then left out
        relevance = np.zeros((block.num_rows, depth + 1), dtype=bool)
        relevance[np.arange(block.num_rows), _ranks(block)] = True
        further = block["further_ranks"].combine_chunks()
        rows = np.repeat(np.arange(block.num_rows), pc.list_value_length(further).to_numpy(zero_copy_only=False))
        relevance[rows, pc.list_flatten(further).to_numpy(zero_copy_only=False)] = True
        yield relevance[:, 1:], block["targets"].to_numpy()


def ndcg_of_lists(lists: np.ndarray, training_set: TrainingSet, rows: np.ndarray | None = None) -> np.ndarray:
    """nDCG of the lists of some test cases (all by default) for all of their targets, float64 ``[rows]``.

    Args:
        lists: item indices, int ``[rows, k]``, best first; negative ones stand for no item. The cut-off is k.
        training_set: whose test cases they are for.
        rows: the cases.

    Raises:
        ValueError: there is not one list a case.
    """
    if training_set.later_targets is None:
        targets = np.asarray(training_set.test_targets)
        return measures.ndcg(lists, targets if rows is None else targets[rows])
    relevant = training_set.relevant(rows)
    metric = f"ndcg@{np.shape(lists)[1]}"
    return relevance_metrics(is_relevant(np.asarray(lists), relevant), relevant.lengths, (metric,))[metric]


def relevance_metrics(
    relevance: np.ndarray, relevant: np.ndarray, metrics: Sequence[str] = METRICS
) -> dict[str, np.ndarray]:
    """Metrics of lists for users with any number of relevant items, each float64 ``[users]``.

    Recall is the share of the relevant items found, the hit rate whether there is one, nDCG has gains of 0 and 1 and
    the ideal list as its divisor (Järvelin and Kekäläinen, TOIS 2002), average precision is divided by the number of
    relevant items.

    Args:
        relevance: whether the item at each rank is relevant, bool ``[users, depth]``; false beyond the end of a
            list. :func:`is_relevant` makes it.
        relevant: how many relevant items each user has, ranked or not, int ``[users]``; 0 gives 0 everywhere.
        metrics: names as ``map@10``. A cut-off beyond the depth takes the lists as ending there.

    Raises:
        RankingError: there is no such metric.
        ValueError: shapes do not fit, or a list holds more relevant items than there are: one stands in it twice.
    """
    hit = np.asarray(relevance, dtype=bool)
    relevant = np.asarray(relevant, dtype=np.int64)
    if hit.ndim != 2 or relevant.shape != hit.shape[:1]:
        raise ValueError(f"relevance is [users, depth] and relevant [users], not {hit.shape} and {relevant.shape}")
    if (hit.sum(axis=1) > relevant).any():
        raise ValueError(
            "a list holds more relevant items than its user has: it holds one twice, or the count is wrong"
        )
    rank = np.arange(1, hit.shape[1] + 1)
    found = hit.cumsum(axis=1)
    gains = np.where(hit, 1 / np.log2(rank + 1), 0.0)
    reciprocal = np.where(hit & (found == 1), 1 / rank, 0.0)
    precision_at_hits = np.where(hit, found / rank, 0.0)
    divisor = np.maximum(relevant, 1)

    values = {}
    for metric in metrics:
        name, k = _parse(metric)
        hits = hit[:, :k].sum(axis=1)
        if name == "recall":
            values[metric] = hits / divisor
        elif name == "hit_rate":
            values[metric] = (hits > 0).astype(np.float64)
        elif name == "precision":
            values[metric] = hits / k
        elif name == "mrr":
            values[metric] = reciprocal[:, :k].sum(axis=1)
        elif name == "map":
            values[metric] = precision_at_hits[:, :k].sum(axis=1) / divisor
        else:
            longest = min(k, int(divisor.max(initial=1)))
            ideal = np.cumsum(1 / np.log2(np.arange(2, longest + 2)))
            values[metric] = gains[:, :k].sum(axis=1) / ideal[np.minimum(divisor, k) - 1]
    return values


def is_relevant(items: np.ndarray, relevant: Sequences) -> np.ndarray:
    """Whether the item at each rank is relevant to the user, bool ``[users, depth]``.

    Args:
        items: item indices, int ``[users, depth]``; negative ones stand for no item.
        relevant: the relevant items of each user, ``[users]`` rows.

    Raises:
        ValueError: the numbers of users differ.
    """
    if len(items) != len(relevant):
        raise ValueError(f"{len(items)} lists, and relevant items of {len(relevant)} users")
    many = 1 + max(int(np.max(items, initial=0)), int(np.max(relevant.items, initial=0)))
    pairs = np.arange(len(items), dtype=np.int64)[:, None] * many + items
    return np.isin(pairs, relevant.pairs(many)) & (np.asarray(items) >= 0)


def _worth_by_rank(metric: str, depth: int) -> np.ndarray:
    """The value of a metric by the rank of the one relevant item, ``[depth + 1]``; 0 stands for not ranked."""
    name, k = _check_depth(metric, depth)
    rank = np.arange(1, k + 1)
    worth = np.zeros(depth + 1)
    worth[1 : k + 1] = {
        "recall": np.ones(k),
        "hit_rate": np.ones(k),
        "ndcg": 1 / np.log2(rank + 1),
        "mrr": 1 / rank,
        "map": 1 / rank,
        "precision": np.full(k, 1 / k),
    }[name]
    return worth


def _check_depth(metric: str, depth: int) -> tuple[str, int]:
    name, k = _parse(metric)
    if k > depth:
        raise RankingError(f"rankings of depth {depth} are too short for {metric}: rank {k} items or more")
    return name, k


def _ranks(per_user: pa.Table) -> np.ndarray:
    """The rank of each target, 0 where it is not ranked."""
    return per_user["target_rank"].fill_null(0).to_numpy()


def _parse(metric: str) -> tuple[str, int]:
    name, _, k = metric.partition("@")
    if name not in _NAMES or not k.isdecimal() or int(k) < 1:
        raise RankingError(f"there is no metric {metric!r}: it is one of {', '.join(_NAMES)}, as in {HEADLINE}")
    return name, int(k)


def _cut_off(metric: str) -> int:
    return _parse(metric)[1]


def _strange_user(known: dict) -> RankingError:
    return RankingError(f"the rankings of {known['recommender']} hold a user who is not tested: rank again")
