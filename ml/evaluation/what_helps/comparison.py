"""Paired comparisons of recommenders with their plain counterparts, over all test users and over parts of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.data.training_set import TrainingSet
from ml.evaluation.power import smallest_difference
from ml.evaluation.significance import Compared, MeanDifference, SeedValues, holm, holm_confidence, paired_test
from ml.evaluation.slices import slices_of
from ml.evaluation.what_helps.content import (
    ALL_USERS,
    COLD_TARGETS,
    SHORT_HISTORIES,
    TAIL_TARGETS,
    Gain,
    WhatHelps,
)
from ml.evaluation.what_helps.counterpart import Counterpart

# the first buckets of the slice by history length: fewer than five items
_SHORT_BUCKETS = 3
_TAIL_BUCKET = 2
_NOT_SEEN_BUCKET = 1


@dataclass(frozen=True)
class Part:
    """Some of the test users.

    Attributes:
        name: :data:`ALL_USERS`, or what they have in common.
        chosen: whether each test user is one of them, bool ``[test users]``.
    """

    name: str
    chosen: np.ndarray


@dataclass(frozen=True)
class Difference:
    """A recommender and its plain counterpart on one part of the test users.

    Attributes:
        counterpart: the two.
        part: name of the part.
        users: how many.
        value: mean of the metric over users and seeds.
        plain_value: the same of the plain one.
        test: of the paired difference, alone.
        compared: the same, corrected for all tests of the comparison.
        detectable: the smallest difference that a single test of these users finds in four of five cases.
    """

    counterpart: Counterpart
    part: str
    users: int
    value: float
    plain_value: float
    test: MeanDifference
    compared: Compared
    detectable: float


def parts_of(training_set: TrainingSet) -> tuple[Part, ...]:
    """The parts that recommenders are compared on: all test users, and three that overlap.

    - ``short histories``: fewer than five items before the target.
    - ``tail targets``: targets of the least popular items, by :func:`ml.data.popularity.popularity_groups`.
    - ``cold targets``: targets that no training history holds. They are tail targets as well.
    """
    buckets = {part.name: part.buckets for part in slices_of(training_set)}
    return (
        Part(ALL_USERS, np.ones(len(training_set.test_users), dtype=bool)),
        Part(SHORT_HISTORIES, buckets["history length"] < _SHORT_BUCKETS),
        Part(TAIL_TARGETS, buckets["target popularity"] == _TAIL_BUCKET),
        Part(COLD_TARGETS, buckets["target in training"] == _NOT_SEEN_BUCKET),
    )


def compare(
    values: Mapping[str, SeedValues], counterparts: Iterable[Counterpart], parts: Sequence[Part]
) -> list[Difference]:
    """Compare each recommender with its plain counterpart on each part, by
    :func:`ml.evaluation.significance.paired_test`.

    P-values and intervals are corrected by Holm's method for the number of all tests, those of the parts included.
    Parts of fewer than two users, and parts that hold all users a second time, are omitted.

    Args:
        values: a metric of each test user by name of the recommender, users in the order of the parts.
        counterparts: the recommenders to compare, in the order of the result.
        parts: of :func:`parts_of`.

    Raises:
        KeyError: there are no values of a recommender.
        ValueError: the numbers of users differ.
    """
    asked = [
        (counterpart, part, _of(values[counterpart.recommender], part), _of(values[counterpart.plain], part))
        for counterpart in counterparts
        for number, part in enumerate(parts)
        if part.chosen.sum() >= 2 and (number == 0 or not part.chosen.all())
    ]
    tests = [paired_test(own, plain) for _, _, own, plain in asked]
    p_values = [test.p_value for test in tests]
    corrected = zip(holm(p_values).tolist(), holm_confidence(p_values).tolist(), strict=True)
    return [
        Difference(
            counterpart=counterpart,
            part=part.name,
            users=own.users,
            value=float(own.by_seed.mean()),
            plain_value=float(plain.by_seed.mean()),
            test=test,
            compared=Compared(test.interval(confidence), confidence, test.p_value, adjusted),
            detectable=smallest_difference((own, plain)).difference,
        )
        for (counterpart, part, own, plain), test, (adjusted, confidence) in zip(asked, tests, corrected, strict=True)
    ]


def what_helps(
    values: Mapping[str, SeedValues],
    counterparts: Iterable[Counterpart],
    titles: Mapping[str, str],
    training_set: TrainingSet,
) -> WhatHelps:
    """Compare recommenders with their plain counterparts on the test users of a training set.

    Args:
        values: nDCG@10 of each test user by name of the recommender.
        counterparts: what to compare; those whose plain one has no values are left out.
        titles: by name of the recommender.
        training_set: that was ranked for.
    """
    asked = list(counterparts)
    compared = [one for one in asked if one.plain in values]
    differences = compare(values, compared, parts_of(training_set))
    return WhatHelps(
        tuple(
            Gain(
                recommender=one.counterpart.recommender,
                title=titles[one.counterpart.recommender],
                family=one.counterpart.family,
                plain=one.counterpart.plain,
                plain_title=titles[one.counterpart.plain],
                seeds=len(values[one.counterpart.recommender].seeds),
                plain_seeds=len(values[one.counterpart.plain].seeds),
                part=one.part,
                users=one.users,
                value=one.value,
                plain_value=one.plain_value,
                compared=one.compared,
                detectable=one.detectable,
            )
            for one in differences
        ),
        tuple((titles[one.recommender], one.plain) for one in asked if one.plain not in values),
    )


def _of(values: SeedValues, part: Part) -> SeedValues:
    if values.users != len(part.chosen):
        raise ValueError(f"values of {values.users:,} users, and {len(part.chosen):,} test users")
    return SeedValues(values.by_seed[:, part.chosen], values.seeds)
