"""How small a difference between two recommenders a number of users can show, and which rows differ at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from ml.evaluation.significance import LEVEL, holm, paired_t_tests

POWER = 0.8


@dataclass(frozen=True)
class Power:
    """What the users of a dataset can show.

    Attributes:
        users: how many.
        difference: the smallest difference of the means that shows.
        relative: as a share of the larger mean; infinite where that is 0.
    """

    users: int
    difference: float
    relative: float


def smallest_difference(values: Sequence[np.ndarray]) -> Power:
    """The smallest difference of two recommenders that a paired two-sided test at 5 % finds with a power of 80 %.

    ``(z(.975) + z(.8)) * s / sqrt(users)`` of the standard deviation ``s`` of the differences by user (Cohen,
    "Statistical power analysis for the behavioral sciences", 1988, chapter 2; Sakai, "Statistical reform in information
    retrieval?", SIGIR Forum 48(1), 2014).

    Args:
        values: of two recommenders, one a user, float64 ``[users]`` each.

    Raises:
        ValueError: there are not two, or fewer than two users.
    """
    if len(values) != 2 or len(values[0]) < 2:
        raise ValueError("a difference needs two recommenders and at least two users")
    one, other = values
    deviation = float(np.std(one - other, ddof=1))
    normal = NormalDist()
    difference = (normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(POWER)) * deviation / math.sqrt(len(one))
    best = max(float(one.mean()), float(other.mean()))
    return Power(len(one), difference, difference / best if best > 0 else math.inf)


@dataclass(frozen=True)
class Apart:
    """How many pairs of neighbouring rows are told apart."""

    told: int
    pairs: int


def neighbours_told_apart(values: Sequence[np.ndarray]) -> Apart:
    """Compare each recommender with the next one, by paired t-tests with Holm's correction at 5 %.

    Args:
        values: one array a recommender, in the order of the leaderboard, float64 ``[users]``.
    """
    p_values = [paired_t_tests(one[None], other).p_value[0] for one, other in pairwise(values)]
    # with fewer than two users there is no p-value, and nothing is told apart
    return Apart(int((holm(p_values) < LEVEL).sum()), len(p_values))
