"""Recommenders fitted on variants of a dataset, and the difference in metrics for the same users.

An audit compares choices of data, not recommenders, so it takes those that cost seconds, and a trained model only
where one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.baselines.registry import BASELINES
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.evaluation.intervals import Interval, bootstrap_interval
from ml.evaluation.rankings import rank
from ml.evaluation.significance import LEVEL, holm, paired_t_tests
from ml.recommender import Recommender

DEPTH = 10
MOST_USERS = 10_000
"""Test users ranked at most; enough to detect a paired difference of .003 in nDCG@10."""
RESAMPLES = 2000
CHEAP = (
    "most_popular",
    "repeat_last",
    "markov_chain",
    "markov_chain_undirected",
    "two_hop_graph_decay",
    "bm25_last_item",
)


@dataclass(frozen=True)
class Candidate:
    """A recommender that an audit may fit.

    Attributes:
        name: in rankings and facts.
        title: for readers.
        fit: a new one, fitted on the given training set, validation cases and all; it decides itself what of
            them the final fit reads, as in ``ml.recommenders.fit``.
    """

    name: str
    title: str
    fit: Callable[[TrainingSet], Recommender]


def cheap_candidates(
    training_set: TrainingSet, fit_on: str = FIT_ON_TRAIN, names: Sequence[str] = CHEAP, seed: int = 0
) -> tuple[Candidate, ...]:
    """Baselines by name, those left out that read item text where there is none.

    Args:
        training_set: that they, or variants of it, will be fitted on.
        fit_on: what a fit reads, ``train`` or ``train+validation``.
        names: of :data:`ml.baselines.registry.BASELINES`.
        seed: of those that draw.
    """

    def candidate(name: str) -> Candidate:
        baseline = BASELINES[name]
        return Candidate(name, baseline.title, lambda data: baseline.create(seed).fit(data.to_fit_on(fit_on)))

    has_text = training_set.item_text is not None
    return tuple(candidate(name) for name in names if has_text or not BASELINES[name].needs_item_text)


@dataclass(frozen=True)
class Measured:
    """How one recommender did on one variant.

    Attributes:
        users: user index of the test cases that were ranked, int32 ``[cases]``, ascending.
        ranks: rank of the target, 0 where it is not among the first ten, int16 ``[cases]``.
    """

    users: np.ndarray
    ranks: np.ndarray

    @property
    def ndcg(self) -> np.ndarray:
        """nDCG@10 of each test case, float64 ``[cases]``."""
        return np.where(self.ranks > 0, 1 / np.log2(np.maximum(self.ranks, 1) + 1.0), 0.0)

    @property
    def recall(self) -> np.ndarray:
        """Recall@10 of each test case, float64 ``[cases]``."""
        return (self.ranks > 0).astype(np.float64)

    @property
    def mean(self) -> float:
        """Mean nDCG@10."""
        return float(self.ndcg.mean())


def measure(
    training_set: TrainingSet, candidates: Sequence[Candidate], exclude_seen: bool = False, seed: int = 0
) -> dict[str, Measured]:
    """Fit each candidate, rank the whole catalogue for the test users, and find the targets, by candidate name.

    Of more than :data:`MOST_USERS` test users a sample is ranked: the same one for the same users and seed.
    """
    tested = training_set
    if len(training_set.test_users) > MOST_USERS:
        generator = np.random.default_rng(seed)
        rows = np.sort(generator.choice(len(training_set.test_users), MOST_USERS, replace=False))
        tested = training_set.measured_on(training_set.test_users[rows])
    return {candidate.name: _measured(candidate, training_set, tested, exclude_seen) for candidate in candidates}


def sample_note(training_set: TrainingSet) -> str:
    """What a table says where :func:`measure` ranks a sample; empty where it ranks everyone."""
    users = len(training_set.test_users)
    return f"Measured on a sample of {MOST_USERS:,} of the {users:,} test users." if users > MOST_USERS else ""


def _measured(candidate: Candidate, training_set: TrainingSet, tested: TrainingSet, exclude_seen: bool) -> Measured:
    recommender = candidate.fit(training_set)
    depth = min(DEPTH, training_set.items)
    rankings = rank(recommender, tested, candidate.name, 0, depth=depth, exclude_seen=exclude_seen)
    case = np.searchsorted(tested.test_users, rankings["user_index"].to_numpy())
    found = rankings["item_index"].to_numpy() == np.asarray(tested.test_targets)[case]
    ranks = np.zeros(len(tested.test_users), dtype=np.int16)
    ranks[case[found]] = rankings["rank"].to_numpy()[found]
    return Measured(np.asarray(tested.test_users), ranks)


@dataclass(frozen=True)
class Difference:
    """The mean difference between two settings for the same users.

    Attributes:
        interval: of the mean difference, by user bootstrap at 95 %.
        p_value: of the two-sided paired t-test, adjusted by Holm over all differences tested together.
    """

    interval: Interval
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the two settings differ significantly."""
        return self.p_value < LEVEL


def differences(values: Mapping[tuple[str, ...], np.ndarray], seed: int = 0) -> dict[tuple[str, ...], Difference]:
    """Test mean differences together.

    Args:
        values: differences user by user, float64 ``[users]``, by any key.
        seed: of the resampling.
    """
    if not values:
        return {}
    tests = paired_t_tests(np.stack(list(values.values())), np.zeros(len(next(iter(values.values())))))
    # with a single user there is no test
    adjusted = np.nan_to_num(holm(tests.p_value), nan=1.0)
    return {
        key: Difference(bootstrap_interval(one, seed, RESAMPLES), float(p_value))
        for (key, one), p_value in zip(values.items(), adjusted, strict=True)
    }
