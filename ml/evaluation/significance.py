"""Whether recommenders can be told apart: paired tests over users, corrected for their number."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05


@dataclass(frozen=True)
class PairedTests:
    """Of each recommender against one reference, ``[recommenders]`` each.

    Attributes:
        difference: mean difference; above zero where the recommender is better.
        statistic: Student's t.
        p_value: two-sided.
    """

    difference: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray


def paired_t_tests(values: np.ndarray, reference: np.ndarray) -> PairedTests:
    """Two-sided paired t-tests over users of several recommenders against one.

    Where the differences of all users are the same there is no variance to test with: p is 1 if they are all zero
    (scipy says nan), 0 if they are all another number (as in scipy). With fewer than two users t and p are nan.

    Args:
        values: one row a recommender, float64 ``[recommenders, users]``.
        reference: of the same users in the same order, float64 ``[users]``.

    Source: Student, "The probable error of a mean", Biometrika 1908; for rankings, Smucker, Allan and Carterette,
    "A comparison of statistical significance tests for information retrieval evaluation", CIKM 2007.

    Raises:
        ValueError: the numbers of users differ.
    """
    from scipy.special import stdtr

    values, reference = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if values.ndim != 2 or values.shape[1:] != reference.shape:
        raise ValueError(f"values are [recommenders, users], reference [users], not {values.shape}, {reference.shape}")
    users = len(reference)
    if users < 2:
        nothing = np.full(len(values), np.nan)
        return PairedTests(values.mean(axis=1) - reference.mean() if users else nothing, nothing, nothing)
    mean, variance = np.empty(len(values)), np.empty(len(values))
    # one recommender at a time: no second table of the size of the first
    for row, one in enumerate(values):
        difference = one - reference
        mean[row], variance[row] = difference.mean(), difference.var(ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = mean / np.sqrt(variance / users)
    statistic[(mean == 0) & (variance == 0)] = 0.0
    return PairedTests(mean, statistic, 2 * stdtr(users - 1, -np.abs(statistic)))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """P-values adjusted for their number by Holm's step-down method, in the order given.

    Rejecting what is below a level keeps the probability of one false finding or more below that level, whatever the
    tests have to do with one another. A nan stays one, and does not count as a comparison.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = p_values.copy()
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return adjusted


@dataclass(frozen=True)
class AllPairs:
    """Every recommender against every other.

    Attributes:
        names: of the recommenders.
        p_values: two-sided, paired, not corrected; symmetric, nan on the diagonal, float64 ``[names, names]``.
        adjusted: the same after Holm's correction over all pairs.
        beats: for each name the others that it is better than at a level of .05 after the correction, in the order
            of the names.
    """

    names: tuple[str, ...]
    p_values: np.ndarray
    adjusted: np.ndarray
    beats: Mapping[str, tuple[str, ...]]


def compare_all(values_by_name: Mapping[str, np.ndarray], level: float = LEVEL) -> AllPairs:
    """Compare all recommenders with one another, with ranx's paired t-test on the values of each user.

    The tests are those of ``ranx.compare`` with ``stat_test="student"``, called on values in place of lists; Holm's
    correction over all pairs is ours (ranx corrects nothing). Where two recommenders have equal values for every
    user, p is 1. With fewer than two users nothing is told apart.

    Args:
        values_by_name: a metric of each user by name of the recommender, float64 ``[users]``, users in one order.
        level: of significance, after the correction.

    Raises:
        ValueError: the numbers of users differ.
    """
    # imported here: ranx brings numba, pandas and matplotlib. Its t-test is scipy's; none of its compiled parts is
    # called, which must not run in two threads at once
    from ranx.statistical_tests import compute_statistical_significance

    names = tuple(values_by_name)
    values = {name: np.asarray(values_by_name[name], dtype=np.float64) for name in names}
    if len({one.shape for one in values.values()}) > 1:
        raise ValueError("recommenders can only be compared over the same users")
    p_values = np.full((len(names), len(names)), np.nan)
    if names and len(values[names[0]]) > 1:
        scores = {name: {"metric": one} for name, one in values.items()}
        # no variance in the differences of a pair: scipy, which ranx calls, divides by zero, and warns
        with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Precision loss occurred", RuntimeWarning)
            found = compute_statistical_significance(list(names), scores, stat_test="student", max_p=level)
        for row, one in enumerate(names):
            for column, other in enumerate(names[:row]):
                equal = np.array_equal(values[one], values[other])
                p_value = 1.0 if equal else found[one, other]["metric"]["p_value"]
                p_values[row, column] = p_values[column, row] = p_value
    adjusted = np.full_like(p_values, np.nan)
    pairs = np.tril_indices(len(names), -1)
    adjusted[pairs] = adjusted[pairs[::-1]] = holm(p_values[pairs])
    means = [one.mean() if len(one) else 0.0 for one in values.values()]
    beats = {
        name: tuple(
            other for column, other in enumerate(names) if adjusted[row, column] < level and means[row] > means[column]
        )
        for row, name in enumerate(names)
    }
    return AllPairs(names, p_values, adjusted, beats)
