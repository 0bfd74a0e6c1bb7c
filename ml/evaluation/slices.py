"""For whom, and for which targets, a recommender is right: its metrics on parts of the test users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ml.data.popularity import HEAD_PERCENT, TAIL_PERCENT, popularity_groups
from ml.data.seen_targets import in_history
from ml.data.timed_interactions import Interactions
from ml.data.training_set import TrainingSet
from ml.evaluation.intervals import bootstrap_interval

COLUMNS = pa.schema(
    [
        pa.field("slice", pa.string(), nullable=False),
        pa.field("bucket", pa.string(), nullable=False),
        pa.field("place", pa.int16(), nullable=False),
        pa.field("users", pa.int64(), nullable=False),
        pa.field("recommender", pa.string(), nullable=False),
        pa.field("ndcg@10", pa.float64(), nullable=False),
        pa.field("ndcg@10_low", pa.float64()),
        pa.field("ndcg@10_high", pa.float64()),
        pa.field("recall@10", pa.float64(), nullable=False),
    ]
)
METRICS = ("ndcg@10", "recall@10")
# fewer than the leaderboard's: there are some hundred intervals, and the second digit of a bound is not read here
RESAMPLES = 2_000
_DAY = 24 * 60 * 60 * 1000
# the shortest history of each bucket but the first
_LENGTHS = (1, 2, 5, 10, 20, 50)
# the longest time of each bucket between "same moment" and the last, in days
_DAYS = (1, 7, 30, 90, 365)


@dataclass(frozen=True)
class Slice:
    """One way to part the test users: each is in exactly one bucket.

    Attributes:
        name: of the slice.
        labels: of its buckets, in their order; some may hold nobody.
        buckets: the bucket of each test user, as a number of ``labels``, int64 ``[test users]``.
    """

    name: str
    labels: tuple[str, ...]
    buckets: np.ndarray


def build_slices(
    training_set: TrainingSet,
    values: Mapping[str, Mapping[str, np.ndarray]],
    interactions: Interactions | None = None,
    seed: int = 0,
) -> pa.Table:
    """The metrics of every recommender on every bucket of :func:`slices_of`.

    Args:
        training_set: that the recommenders were ranked for.
        values: of each recommender its ``ndcg@10`` and ``recall@10``, float64 ``[test users]`` in the order of
            ``training_set.test_users``; with several seeds the means over them.
        interactions: of :func:`ml.data.timed_interactions.read_interactions`; without it, or where the dataset has no
            times, there is no slice by time.
        seed: of the intervals.

    Returns:
        Columns :data:`COLUMNS`, by slice, bucket, and recommender in the order given: the bucket's label and its
        ``place`` in the slice (1-based; buckets without a user have no row), its users, the mean of both metrics over
        them, and a 95 % interval of nDCG@10 by :data:`RESAMPLES` resamples of the bucket's users, null where there is
        one user only.

    Raises:
        ValueError: the values are not one a test user, or the interactions are of another training set.
    """
    cases = len(training_set.test_users)
    for recommender, metrics in values.items():
        for metric in METRICS:
            if metric not in metrics or np.shape(metrics[metric]) != (cases,):
                raise ValueError(f"{recommender}: slices need {metric} of each of the {cases} test users")
    rows = []
    for part in slices_of(training_set, interactions):
        order = np.argsort(part.buckets, kind="stable")
        counts = np.bincount(part.buckets, minlength=len(part.labels))
        ends = np.cumsum(counts)
        ordered = {
            name: {metric: np.asarray(metrics[metric], dtype=np.float64)[order] for metric in METRICS}
            for name, metrics in values.items()
        }
        for bucket in np.flatnonzero(counts):
            chosen = slice(ends[bucket] - counts[bucket], ends[bucket])
            for recommender, metrics in ordered.items():
                gain = metrics["ndcg@10"][chosen]
                interval = bootstrap_interval(gain, seed, RESAMPLES) if len(gain) > 1 else None
                rows.append(
                    {
                        "slice": part.name,
                        "bucket": part.labels[bucket],
                        "place": int(bucket) + 1,
                        "users": len(gain),
                        "recommender": recommender,
                        "ndcg@10": float(gain.mean()),
                        "ndcg@10_low": interval.low if interval else None,
                        "ndcg@10_high": interval.high if interval else None,
                        "recall@10": float(metrics["recall@10"][chosen].mean()),
                    }
                )
    return pa.Table.from_pylist(rows, COLUMNS)


def slices_of(training_set: TrainingSet, interactions: Interactions | None = None) -> tuple[Slice, ...]:
    """Every way in which the test users are parted.

    - ``history length``: items of the history that is known when the target is ranked, repeats counted.
    - ``target popularity``: of the target in ``training_set.train``, by the rule of :func:`popularity_groups`.
    - ``target in training``: whether anybody has the target in ``training_set.train``. One that nobody has may still
      be known to a recommender that is fitted on the validation items too.
    - ``time since the last interaction``: between the target and the interaction before it, only where times are
      known. Bounds are inclusive: exactly 7 days is ``up to 7 days``.
    - ``repeated target``: whether the target is in the user's history already.

    Where users have several targets, one decides for all: a user is in the bucket of the least popular target, of a
    target that nobody is trained on, and of a target that is in the history, where there is such a one. The time is
    that to the first target.

    Raises:
        ValueError: the interactions do not have the same test users as the training set.
    """
    histories = training_set.histories("test")
    held_out = training_set.held_out()
    case = held_out.row_of_each
    popularity = np.bincount(training_set.train.items, minlength=training_set.items)
    group = np.zeros(len(held_out), dtype=np.int64)
    # groups are numbered from the most popular to the least
    np.maximum.at(group, case, popularity_groups(popularity)[held_out.items])
    is_unknown = np.bincount(case, popularity[held_out.items] == 0, len(held_out)) > 0
    is_repeated = np.bincount(case, in_history(training_set), len(held_out)) > 0
    parts = [
        Slice(
            "history length",
            ("0", "1", "2–4", "5–9", "10–19", "20–49", "50+"),
            np.searchsorted(_LENGTHS, histories.lengths, side="right"),
        ),
        Slice(
            "target popularity",
            (
                f"head: first {HEAD_PERCENT} % of training interactions",
                f"middle: next {100 - HEAD_PERCENT - TAIL_PERCENT} %",
                f"tail: last {TAIL_PERCENT} %",
            ),
            group,
        ),
        Slice("target in training", ("seen in training", "not seen in training"), is_unknown * 1),
    ]
    if interactions is not None and interactions.has_times:
        parts.append(_time_slice(training_set, interactions))
    parts.append(Slice("repeated target", ("new target", "target in the history"), is_repeated * 1))
    return tuple(parts)


def _time_slice(training_set: TrainingSet, interactions: Interactions) -> Slice:
    passed, is_known = _time_since_last(training_set, interactions)
    labels = (
        "nothing before",
        "target is earlier",
        "same moment",
        *(f"up to {days} day{'s' if days > 1 else ''}" for days in _DAYS),
        f"more than {_DAYS[-1]} days",
    )
    # the last moment of each bucket but the last one
    bounds = np.array([-1, 0, *(days * _DAY for days in _DAYS)])
    buckets = np.where(is_known, 1 + np.searchsorted(bounds, passed, side="left"), 0)
    return Slice("time since the last interaction", labels, buckets)


def _time_since_last(training_set: TrainingSet, interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds between each test target and what the user's test history ends with, int64 ``[test users]``; and
    whether there is a history, bool ``[test users]``."""
    tested = np.flatnonzero(interactions.split_is("test"))
    if training_set.unmeasured is not None:
        tested = tested[np.isin(interactions.users[tested], training_set.test_users)]
    # of several targets of a user the first
    tested = tested[np.unique(interactions.users[tested], return_index=True)[1]]
    if not (
        np.array_equal(interactions.users[tested], training_set.test_users)
        and np.array_equal(interactions.items[tested], training_set.test_targets)
    ):
        raise ValueError(
            "the interactions have other test targets than the training set: make both again from the same splits"
        )
    is_history = ~(interactions.split_is("test") | interactions.split_is("unused"))
    places = np.arange(len(interactions))
    # at each interaction the last one of a history up to it
    last = np.maximum.accumulate(np.where(is_history, places, -1))[tested]
    is_known = (last >= 0) & (interactions.users[last] == interactions.users[tested])
    passed = interactions.moments[tested] - interactions.moments[last]
    return np.where(is_known, passed, 0), is_known
