"""Statistical power: the smallest difference that a number of test users can detect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ml.evaluation.significance import LEVEL, SeedValues, holm, paired_test

POWER = 0.8


@dataclass(frozen=True)
class Power:
    """The statistical power of a dataset's test users.

    Attributes:
        users: how many.
        difference: the smallest difference of the means that shows.
        relative: as a share of the larger mean; infinite where that is 0.
    """

    users: int
    difference: float
    relative: float


def smallest_difference(values: Sequence[SeedValues]) -> Power:
    """The smallest difference that a paired two-sided test of two recommenders at 5 % finds with a power of 80 %.

    ``(t(.975) + t(.8)) * e`` of the standard error ``e`` of :func:`ml.evaluation.significance.paired_test`, and
    Student's t with its degrees of freedom (Cohen, "Statistical power analysis for the behavioral sciences", 1988,
    chapter 2; Sakai, "Statistical reform in information retrieval?", SIGIR Forum 48(1), 2014).

    Args:
        values: of two recommenders, over the same users.

    Raises:
        ValueError: there are not two, or fewer than two users.
    """
    from scipy.special import stdtrit

    if len(values) != 2 or values[0].users < 2:
        raise ValueError("a difference needs two recommenders and at least two users")
    one, other = values
    test = paired_test(one, other)
    quantiles = stdtrit(test.freedom, 1 - LEVEL / 2) + stdtrit(test.freedom, POWER)
    difference = float(quantiles) * test.error
    best = max(float(one.by_seed.mean()), float(other.by_seed.mean()))
    return Power(one.users, difference, difference / best if best > 0 else math.inf)


@dataclass(frozen=True)
class Neighbours:
    """Number of pairs of neighbouring rows that differ significantly."""

    different: int
    pairs: int


def different_neighbours(values: Sequence[SeedValues]) -> Neighbours:
    """Compare each recommender with the next one, by paired tests with Holm's correction at 5 %.

    Args:
        values: of each recommender, in the order of the leaderboard.
    """
    p_values = [paired_test(one, other).p_value for one, other in pairwise(values)]
    # with fewer than two users there is no p-value, and no two differ significantly
    return Neighbours(int((holm(p_values) < LEVEL).sum()), len(p_values))
