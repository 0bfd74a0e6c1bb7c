"""Paired tests against scipy and ranx and by simulation, and Holm's correction against its definition."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from ml.evaluation.significance import (
    SeedValues,
    compare_all,
    holm,
    holm_confidence,
    mean_test,
    paired_t_tests,
    paired_test,
)


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


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), users=st.integers(2, 400))
def test_with_one_seed_it_is_the_paired_t_test(seed, users):
    values = made_up_values(seed, 2, users)
    plain = paired_t_tests(values[1:], values[0])
    found = paired_test(*(SeedValues.of_one_seed(one) for one in values[::-1]))
    assert found.p_value == plain.p_value[0]
    assert found.freedom == users - 1
    if found.error > 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            expected = ttest_rel(values[1], values[0]).confidence_interval(0.9)
        interval = found.interval(0.9)
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def seeded(random, users: int, seeds: int, between: float, rest: float) -> SeedValues:
    """Values of a recommender no better than one of nothing but zeros: users spread by .1, seeds by ``between`` times
    the standard error that the users alone leave, user and seed together by ``rest``."""
    error = np.sqrt((0.1**2 + rest**2 / seeds) / users)
    by_seed = random.normal(0, 0.1, users) + random.normal(0, between * error, (seeds, 1))
    return SeedValues(by_seed + random.normal(0, rest, (seeds, users)), tuple(range(seeds)))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), users=st.integers(2, 60), seeds=st.integers(2, 5), between=st.floats(0, 5))
def test_users_and_seeds_are_never_surer_than_users_alone(seed, users, seeds, between):
    values = seeded(np.random.default_rng(seed), users, seeds, between, 0.05)
    base = SeedValues.of_one_seed(np.random.default_rng(seed + 1).normal(0, 0.1, users))
    alone = paired_t_tests(values.mean_by_user[None], base.by_seed[0]).p_value[0]
    assert paired_test(values, base).p_value >= alone - 1e-12
    order = np.random.default_rng(seed).permutation(users)
    turned = SeedValues(values.by_seed[::-1][:, order], values.seeds[::-1])
    again = paired_test(turned, SeedValues(base.by_seed[:, order]))
    assert again.p_value == pytest.approx(paired_test(values, base).p_value, abs=1e-9)
    back = paired_test(base, values)
    assert (back.difference, back.p_value) == pytest.approx(
        (-paired_test(values, base).difference, paired_test(values, base).p_value), abs=1e-12
    )


def test_users_and_seeds_by_hand():
    """Mean squares of a 3 x 2 table: users 8/3 (2), seeds 6 (1), rest 0 (2) over 6 values."""
    values = SeedValues(np.array([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]), (0, 1))
    found = mean_test(values)
    # users: variance 1 over 3; seeds: variance 2 over 2; no interaction
    assert found.difference == 2
    assert found.error == pytest.approx(np.sqrt(1 / 3 + 1))
    assert found.freedom == pytest.approx((4 / 3) ** 2 / ((1 / 3) ** 2 / 2 + 1))
    # what seeds share with single users alone is in the spread of the users already
    mixed = mean_test(SeedValues(np.array([[0.0, 1.0, 5.0], [3.0, 4.0, 2.0]]), (0, 1)))
    table = np.array([[0.0, 1.0, 5.0], [3.0, 4.0, 2.0]])
    rest = ((table - table.mean(1)[:, None] - table.mean(0) + table.mean()) ** 2).sum() / 2
    seeds = 3 * ((table.mean(1) - table.mean()) ** 2).sum()
    users = 2 * ((table.mean(0) - table.mean()) ** 2).sum() / 2
    assert mixed.error**2 == pytest.approx((users + max(0, seeds - rest)) / 6)


@pytest.mark.parametrize(
    ("seeds", "between", "rest"),
    [
        *[(2, 0, 0.1), (2, 1, 0.0), (3, 0.5, 0.1), (5, 0, 0.0), (5, 2, 0.1)],
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                *[(2, 0, 0.0), (2, 1, 0.1), (3, 0, 0.0), (3, 0, 0.1), (3, 0.5, 0.0), (3, 1, 0.0), (3, 1, 0.1)],
                *[(5, 0, 0.1), (5, 1, 0.0), (5, 1, 0.1), (5, 2, 0.0)],
            ]
        ),
    ],
)
def test_chance_is_called_significant_no_more_often_than_the_level(seeds, between, rest):
    random = np.random.default_rng(seeds)
    zeros = SeedValues.of_one_seed(np.zeros(60))
    runs = 1500
    found = sum(paired_test(seeded(random, 60, seeds, between, rest), zeros).p_value < 0.05 for _ in range(runs))
    # .05, and three standard errors of so many runs
    assert found / runs < 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_a_test_over_users_alone_is_fooled_by_seeds():
    random = np.random.default_rng(0)
    zeros = np.zeros(60)
    values = [seeded(random, 60, 3, 2, 0.0) for _ in range(800)]
    alone = np.mean([paired_t_tests(one.mean_by_user[None], zeros).p_value[0] < 0.05 for one in values])
    both = np.mean([mean_test(one).p_value < 0.05 for one in values])
    assert alone > 0.15
    assert both < 0.085


def test_a_clear_difference_is_found_with_few_seeds():
    random = np.random.default_rng(0)
    for seeds in (2, 3, 5):
        values = seeded(random, 2000, seeds, 1, 0.05)
        better = SeedValues(values.by_seed + 0.05, values.seeds)
        assert paired_test(better, SeedValues.of_one_seed(np.zeros(2000))).p_value < 0.001


def test_recommenders_of_equal_seeds_are_paired_and_of_others_add_up():
    random = np.random.default_rng(0)
    one = seeded(random, 500, 3, 5, 0.0)
    # the parts of a fusion share its seeds: what the seed does to both is no difference
    shifted = SeedValues(one.by_seed + random.normal(0.01, 0.05, (1, 500)), one.seeds)
    paired = paired_test(shifted, one)
    apart = paired_test(SeedValues(shifted.by_seed, (3, 4, 5)), one)
    assert paired.p_value < 0.05 < apart.p_value
    assert apart.error > 5 * paired.error
    assert paired.difference == pytest.approx(apart.difference)


def test_seeds_and_users_must_agree():
    with pytest.raises(ValueError, match=r"values are \[seeds, users\], one row for each of 1 seeds, not \(2, 3\)"):
        SeedValues(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="tests are over the same users, not 3 and 4"):
        paired_test(SeedValues.of_one_seed(np.zeros(3)), SeedValues.of_one_seed(np.zeros(4)))
    few = paired_test(SeedValues(np.ones((2, 1)), (0, 1)), SeedValues.of_one_seed(np.zeros(1)))
    assert np.isnan(few.p_value)
    assert few.difference == 1
    equal = SeedValues(np.ones((2, 4)), (0, 1))
    assert mean_test(equal).p_value == 0
    assert paired_test(equal, equal).p_value == 1


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


@settings(max_examples=100, deadline=None)
@given(p_values=st.lists(st.floats(1e-6, 1) | st.sampled_from([0.001, 0.01, 0.02, 0.04]), max_size=7))
def test_an_interval_agrees_with_the_corrected_test(p_values):
    adjusted, confidence = holm(p_values), holm_confidence(p_values)
    # a p-value is below what is left of its confidence exactly where it is significant after the correction
    assert [p < 1 - c - 1e-15 for p, c in zip(p_values, confidence, strict=True)] == [
        one < 0.05 - 1e-12 for one in adjusted
    ] or any(abs(one - 0.05) < 1e-9 for one in adjusted)
    assert all(0.95 - 1e-12 <= one < 1 for one in confidence)


def test_confidence_by_hand():
    np.testing.assert_allclose(holm_confidence([0.04, 0.001, np.nan, 0.03]), [0.975, 1 - 0.05 / 3, 0.95, 0.975])
    assert holm_confidence([]).tolist() == []


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), recommenders=st.integers(2, 6), users=st.integers(2, 300))
def test_all_pairs_equal_ranx(seed, recommenders, users):
    from ranx.statistical_tests import compute_statistical_significance

    values = made_up_values(seed, recommenders, users)
    names = [f"r{row}" for row in range(recommenders)]
    found = compare_all(dict(zip(names, values, strict=True)))
    scores = {name: {"metric": one} for name, one in zip(names, values, strict=True)}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        by_ranx = compute_statistical_significance(names, scores, stat_test="student", max_p=0.05)
    for row, column in combinations(range(recommenders), 2):
        if not np.array_equal(values[row], values[column]):
            p_value = by_ranx[names[row], names[column]]["metric"]["p_value"]
            assert found.p_values[row, column] == pytest.approx(p_value, abs=1e-9)
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
