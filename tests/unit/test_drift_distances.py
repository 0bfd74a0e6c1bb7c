"""Distances of distributions and rankings, beside scipy and beside their definitions written out."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from ml.data.drift.distances import (
    LEAST_SHARE,
    kolmogorov_smirnov,
    population_stability_index,
    rank_biased_overlap,
    total_variation,
)

counts = st.dictionaries(st.integers(1, 9).map(str), st.integers(0, 20), min_size=1).filter(lambda c: sum(c.values()))
rankings = st.lists(st.sampled_from("abcdefghij"), unique=True, min_size=1)


def _rows(of: dict[str, int]) -> np.ndarray:
    return np.repeat([int(value) for value in of], list(of.values()))


@given(counts, counts)
def test_the_distance_of_two_samples_is_that_of_scipy(before, now):
    expected = ks_2samp(_rows(before), _rows(now)).statistic
    assert kolmogorov_smirnov(before, now) == pytest.approx(expected, abs=1e-12)


@given(counts, counts)
def test_distances_are_symmetric_and_zero_for_equal_shares(before, now):
    for distance in (total_variation, population_stability_index, kolmogorov_smirnov):
        assert distance(before, now) == pytest.approx(distance(now, before))
        assert distance(before, {value: 3 * rows for value, rows in before.items()}) == pytest.approx(0, abs=1e-12)
        assert distance(before, now) >= 0


def test_the_stability_index_is_that_counted_by_hand():
    found = population_stability_index({"1": 50, "2": 50}, {"1": 25, "2": 75})
    assert found == pytest.approx(-0.25 * np.log(0.5) + 0.25 * np.log(1.5))
    gone = population_stability_index({"1": 50, "2": 50}, {"1": 1})
    assert gone == pytest.approx(0.5 * np.log(2) + (LEAST_SHARE - 0.5) * np.log(LEAST_SHARE / 0.5))


@given(rankings, rankings, st.sampled_from([0.5, 0.9, 0.98]))
def test_the_overlap_of_rankings_is_the_sum_of_its_definition(before, now, persistence):
    depth = min(len(before), len(now))
    agreement = [len(set(before[:rank]) & set(now[:rank])) / rank for rank in range(1, depth + 1)]
    # beyond the last rank the agreement of the last one goes on
    beyond = persistence**depth * agreement[-1]
    expected = sum((1 - persistence) * persistence**n * share for n, share in zip(count(), agreement, strict=False))
    assert rank_biased_overlap(before, now, persistence) == pytest.approx(expected + beyond)


@given(rankings)
def test_equal_rankings_overlap_wholly_and_disjoint_ones_not_at_all(ranking):
    assert rank_biased_overlap(ranking, ranking) == pytest.approx(1)
    assert rank_biased_overlap(ranking, [item.upper() for item in ranking]) == 0


def test_nothing_has_no_distance():
    for distance in (total_variation, population_stability_index, kolmogorov_smirnov):
        assert distance({}, {"1": 1}) is None
        assert distance({"1": 1}, {"1": 0}) is None
    assert rank_biased_overlap([], ["a"]) is None
