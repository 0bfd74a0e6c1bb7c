"""What the comparison of recommenders with their plain counterparts found, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from ml.evaluation.significance import Compared

# parts of the test users: see ml.evaluation.what_helps.comparison.parts_of
ALL_USERS = "all test users"
SHORT_HISTORIES = "short histories"
TAIL_TARGETS = "tail targets"
COLD_TARGETS = "cold targets"


@dataclass(frozen=True)
class Gain:
    """A recommender beside its plain counterpart, on one part of the test users.

    Attributes:
        recommender: its name.
        title: for readers.
        family: what it adds.
        plain: name of the plain counterpart.
        plain_title: for readers.
        seeds: the recommender was fitted with.
        plain_seeds: the plain counterpart was fitted with.
        part: one of the names of :func:`ml.evaluation.what_helps.comparison.parts_of`.
        users: of the part.
        value: mean nDCG@10.
        plain_value: mean nDCG@10 of the plain counterpart.
        compared: the paired difference, corrected for all tests of the comparison.
        detectable: the smallest difference that a single test of these users finds in four of five cases.
    """

    recommender: str
    title: str
    family: str
    plain: str
    plain_title: str
    seeds: int
    plain_seeds: int
    part: str
    users: int
    value: float
    plain_value: float
    compared: Compared
    detectable: float


@dataclass(frozen=True)
class WhatHelps:
    """The whole comparison.

    Attributes:
        gains: by family, recommender and part.
        left_out: names of recommenders whose plain counterpart was not run, and of that.
    """

    gains: tuple[Gain, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
