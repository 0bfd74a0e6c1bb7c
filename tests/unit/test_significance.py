"""Paired tests against scipy and ranx, and Holm's correction against its definition."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from ml.evaluation.significance import compare_all, holm, paired_t_tests


def made_up_values(seed: int, recommenders: int, users: int) -> np.ndarray:
    """Like nDCG@10 of recommenders that agree on many users, the later ones a little better."""
    rng = np.random.default_rng(seed)
    ranks = rng.integers(1, 40, (1, users)) + rng.integers(-3, 4, (recommenders, users))
    ranks -= np.arange(recommenders)[:, None]
    return np.where(ranks <= 10, 1 / np.log2(np.maximum(ranks, 1) + 1), 0.0)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), recommenders=st.integers(1, 8), users=st.integers(2, 400))
def test_paired_tests_equal_scipy(seed, recommenders, users):
    values = made_up_values(seed, recommenders + 1, users)
    tests = paired_t_tests(values[1:], values[0])
    with warnings.catch_warnings():
        # scipy warns where the differences do not vary
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = ttest_rel(values[1:], values[:1], axis=1)
    same = (values[1:] == values[0]).all(axis=1)
    np.testing.assert_allclose(tests.p_value[~same], expected.pvalue[~same], rtol=0, atol=1e-9)
    np.testing.assert_allclose(tests.statistic[~same], expected.statistic[~same], rtol=1e-9)
    assert (tests.p_value[same] == 1).all()
    assert np.isnan(expected.pvalue[same]).all()
    np.testing.assert_allclose(tests.difference, (values[1:] - values[0]).mean(axis=1), rtol=0, atol=1e-12)


def test_differences_that_do_not_vary():
    base = np.array([0.0, 0.5, 1.0, 0.25])
    tests = paired_t_tests(np.stack([base, base + 0.5, base - 0.5]), base)
    assert tests.p_value.tolist() == [1, 0, 0]
    assert tests.statistic.tolist() == [0, np.inf, -np.inf]
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert ttest_rel(base + 0.5, base).pvalue == 0
    for users in (0, 1):
        few = paired_t_tests(np.ones((2, users)), np.zeros(users))
        assert np.isnan(few.p_value).all()
        assert len(few.difference) == 2
    with pytest.raises(ValueError, match=r"values are \[recommenders, users\]"):
        paired_t_tests(np.ones((2, 3)), np.ones(2))


def by_closed_testing(p_values: list[float]) -> list[float]:
    """Holm's method is the closure of Bonferroni's: a hypothesis falls when every set that it is in falls."""
    indices = range(len(p_values))
    sets = [one for size in range(1, len(p_values) + 1) for one in combinations(indices, size)]
    return [min(1, max(len(one) * min(p_values[i] for i in one) for one in sets if index in one)) for index in indices]


@settings(max_examples=100, deadline=None)
@given(p_values=st.lists(st.floats(0, 1) | st.sampled_from([0.01, 0.02, 0.5]), max_size=7))
def test_holm_equals_its_definition(p_values):
    np.testing.assert_allclose(holm(p_values), by_closed_testing(p_values), rtol=1e-12, atol=0)


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.02, 0.03, 0.04, 0.05]), [0.05, 0.08, 0.09, 0.09, 0.09])
    np.testing.assert_allclose(holm([0.04, 0.01, np.nan, 0.03]), [0.06, 0.03, np.nan, 0.06])
    assert holm([]).tolist() == []


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), recommenders=st.integers(2, 6), users=st.integers(2, 300))
def test_all_pairs_by_ranx_equal_ours(seed, recommenders, users):
    values = made_up_values(seed, recommenders, users)
    names = [f"r{row}" for row in range(recommenders)]
    found = compare_all(dict(zip(names, values, strict=True)))
    assert found.names == tuple(names)
    for row, name in enumerate(names):
        ours = paired_t_tests(values, values[row])
        others = np.arange(recommenders) != row
        np.testing.assert_allclose(found.p_values[row][others], ours.p_value[others], rtol=0, atol=1e-9)
        assert np.isnan(found.p_values[row, row])
        better = {
            other
            for column, other in enumerate(names)
            if column != row and found.adjusted[row, column] < 0.05 and ours.difference[column] < 0
        }
        assert set(found.beats[name]) == better
    pairs = list(combinations(range(recommenders), 2))
    adjusted = holm([found.p_values[pair] for pair in pairs])
    np.testing.assert_array_equal([found.adjusted[pair] for pair in pairs], adjusted)
    np.testing.assert_array_equal(found.adjusted, found.adjusted.T)


def test_who_beats_whom():
    rng = np.random.default_rng(0)
    base = rng.random(2000)
    noise = rng.normal(0, 0.1, (2, 2000))
    values = {"good": base + 0.1, "same": base + noise[0] - noise[0].mean(), "base": base, "bad": base - 0.1 + noise[1]}
    found = compare_all(values)
    assert found.beats == {"good": ("same", "base", "bad"), "same": ("bad",), "base": ("bad",), "bad": ()}
    equal = compare_all({"one": base, "other": base.copy()})
    assert equal.p_values[0, 1] == equal.adjusted[1, 0] == 1
    assert compare_all({"one": base[:1], "other": base[1:2]}).beats == {"one": (), "other": ()}
    assert compare_all({"alone": base}).beats == {"alone": ()}
    with pytest.raises(ValueError, match="same users"):
        compare_all({"one": base, "other": base[1:]})
