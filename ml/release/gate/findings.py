"""Whether the bounds of a release are kept: what was measured of a candidate, held against them.

Plain data and arithmetic. :mod:`ml.release.gate.cases` measures candidate and champion on the same test users, and
:mod:`ml.release.gate.measures` computes the other figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ml.evaluation.significance import MeanDifference, SeedValues, paired_test
from ml.release.gate.bounds import BLOCKING, BROKEN, EVERYBODY, KEPT, MEASURES, Bound, Measure, limit_text, shown

# who is measured, as columns of the cases are named
CHAMPION, CANDIDATE, MOST_POPULAR = "champion", "candidate", "most_popular"
METRIC = "ndcg@10"


@dataclass(frozen=True)
class Finding:
    """What was found of a bound.

    Attributes:
        bound: the condition.
        passed: whether it is kept.
        sentence: what was found, with figures.
        value: of the measure; ``None`` where it could not be measured.
        p_value: one-sided, of the test that the limit asks for; ``None`` without one.
        users: over how many test users; ``None`` where the measure is not of users.
        low: lower bound of the one-sided confidence interval of an absolute difference.
    """

    bound: Bound
    passed: bool
    sentence: str
    value: float | None = None
    p_value: float | None = None
    users: int | None = None
    low: float | None = None

    @property
    def blocks(self) -> bool:
        return not self.passed and self.bound.severity == BLOCKING


@dataclass(frozen=True)
class Cases:
    """nDCG@10 of each test user, all in one order.

    Attributes:
        candidate: float64 ``[users]``.
        others: of what it is compared with, by name: ``champion`` (where there is one) and ``most_popular``.
        slices: the users of each slice, bool ``[users]``, by key of :data:`SLICES`.
    """

    candidate: np.ndarray
    others: Mapping[str, np.ndarray]
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in {**self.others, **self.slices}.items():
            if np.shape(values) != np.shape(self.candidate):
                raise ValueError(f"{name}: {np.shape(values)} for test users of {np.shape(self.candidate)}")

    def rows(self, name: str) -> np.ndarray:
        """Which users a slice holds, bool ``[users]``."""
        return np.ones(len(self.candidate), dtype=bool) if name == EVERYBODY else self.slices[name]


def p_above(test: MeanDifference, limit: float) -> float:
    """One-sided p-value of the hypothesis that a mean is at most ``limit``; small where it is shown to be above.

    With ``limit = -margin`` and a difference of two recommenders this is the test of non-inferiority (Schuirmann, "A
    comparison of the two one-sided tests procedure and the power approach", Journal of Pharmacokinetics and
    Biopharmaceutics 15, 1987). Without variance it is 0 or 1; nan where there are fewer than two users.
    """
    from scipy.special import stdtr

    if math.isnan(test.error):
        return float("nan")
    if test.error == 0:
        return float(not test.difference > limit)
    return float(stdtr(test.freedom, -(test.difference - limit) / test.error))


def lower_bound(test: MeanDifference, level: float) -> float:
    """The one-sided lower confidence bound of a mean: above ``limit`` exactly where ``p_above(test, limit)`` is below
    ``level``. nan where there are fewer than two users."""
    from scipy.special import stdtrit

    if test.error == 0:
        return test.difference
    return test.difference - float(stdtrit(test.freedom, 1 - level)) * test.error


def non_inferiority(candidate: np.ndarray, other: np.ndarray, limit: float, relative: bool = False) -> MeanDifference:
    """The mean that a test against ``limit`` is about, by user.

    A limit that is a share of the other's mean is linear in both means: ``mean(candidate) > (1 + limit) mean(other)``.
    So the test is of ``candidate - (1 + limit) other`` against 0, and the uncertainty of the other's mean is part of
    it (Fieller, "Some problems in interval estimation", Journal of the Royal Statistical Society B 16, 1954).

    Args:
        candidate: of each user, float64 ``[users]``.
        other: of the same users in the same order.
        limit: of the difference, or of the relative change.
        relative: whether the limit is a share of the other's mean.

    Returns:
        A mean difference to be tested against ``limit``, or against 0 where it is relative.
    """
    scaled = (1 + limit) * other if relative else other
    return paired_test(SeedValues.of_one_seed(candidate), SeedValues.of_one_seed(scaled))


def users_needed(test: MeanDifference, limit: float, level: float, users: int) -> int | None:
    """About how many test users would show what was found: the standard error shrinks with their square root.

    ``None`` where no number would, since what was found is not above the limit.
    """
    from scipy.special import ndtri

    distance = test.difference - limit
    if not distance > 0 or not test.error > 0:
        return None
    return math.ceil(users * (float(ndtri(1 - level)) * test.error / distance) ** 2)


def judge(
    bounds: Sequence[Bound], cases: Cases, figures: Mapping[str, float | None], has_champion: bool
) -> tuple[Finding, ...]:
    """Hold what was measured against the bounds, in their order.

    Args:
        bounds: of the contract that applies.
        cases: what the paired measures are computed from.
        figures: value of each other measure, by name; ``None`` or absent where it could not be measured.
        has_champion: whether there is a champion that the candidate is compared with; measures that need one are
            skipped where there is none.
    """
    findings = []
    for bound in bounds:
        measure = MEASURES[bound.measure]
        if measure.needs_champion and not has_champion:
            findings.append(Finding(bound, True, "There is no champion to compare with."))
        elif measure.is_tested:
            findings.append(_paired(bound, measure, cases))
        else:
            findings.append(_single(bound, measure, figures.get(measure.name)))
    return tuple(findings)


def _single(bound: Bound, measure: Measure, value: float | None) -> Finding:
    if value is None or math.isnan(value):
        return Finding(bound, True, "Not measured.")
    limit = bound.limit
    passed = (limit.at_least is None or value >= limit.at_least) and (limit.at_most is None or value <= limit.at_most)
    return Finding(bound, passed, f"{shown(measure, value)}; allowed is {limit_text(bound)}.", value=value)


def _paired(bound: Bound, measure: Measure, cases: Cases) -> Finding:
    limit, rows = bound.limit, cases.rows(measure.slice)
    # the contracts were checked
    assert limit.level is not None
    assert limit.at_least is not None
    candidate, other = cases.candidate[rows], cases.others[measure.compared][rows]
    users = len(candidate)
    allowed = f"allowed is {limit_text(bound)}"
    if users < 2:
        sentence = f"{users} test users are too few for a test; {allowed}."
        return Finding(bound, limit.test == BROKEN, sentence, users=users)
    test = non_inferiority(candidate, other, limit.at_least, measure.relative)
    against = 0.0 if measure.relative else limit.at_least
    value = _value(measure, candidate, other)
    above = p_above(test, against)
    p_value = above if limit.test == KEPT else 1 - above
    passed = p_value < limit.level if limit.test == KEPT else not p_value < limit.level
    low = None if measure.relative else lower_bound(test, limit.level)
    found = "not defined, since the other has a mean of 0" if value is None else shown(measure, value)
    sentence = f"{found} over {users:,} test users (one-sided {_p(p_value)}); {allowed}"
    if limit.test == KEPT and not passed:
        needed = users_needed(test, against, limit.level, users)
        sentence += (
            f". The test cannot show it with so few users: about {needed:,} would be needed for this value"
            if needed
            else ". The value itself is not above the limit"
        )
    return Finding(bound, passed, f"{sentence}.", value=value, p_value=p_value, users=users, low=low)


def _value(measure: Measure, candidate: np.ndarray, other: np.ndarray) -> float | None:
    difference = float(candidate.mean() - other.mean())
    if not measure.relative:
        return difference
    mean = float(other.mean())
    return difference / mean if mean else None


def _p(value: float) -> str:
    from ml.number_format import p_value

    return "p not a number" if math.isnan(value) else p_value(value)
