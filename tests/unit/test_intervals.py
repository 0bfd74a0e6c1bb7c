"""Bootstrap intervals: what they hold, how often, and that many distinct values are no trouble."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.evaluation.intervals import Interval, bootstrap_interval

WORTH = np.append(1 / np.log2(np.arange(2, 12)), 0.0)
# of the ranks 1 to 10, and of no hit: like a recommender that finds 18 % of the targets
CHANCES = np.append(0.18 * (1 / np.arange(2, 12)) / (1 / np.arange(2, 12)).sum(), 0.82)


def ndcg_values(rng: np.random.Generator, users: int) -> np.ndarray:
    return WORTH[rng.choice(len(WORTH), size=users, p=CHANCES)]


def drawn_one_by_one(values: np.ndarray, rng: np.random.Generator, resamples: int = 10_000) -> np.ndarray:
    """Bounds of the interval, by drawing users."""
    means = np.concatenate(
        [values[rng.integers(0, len(values), (500, len(values)))].mean(axis=1) for _ in range(resamples // 500)]
    )
    return np.quantile(means, [0.025, 0.975])


def test_interval_is_that_of_drawing_users_one_by_one():
    rng = np.random.default_rng(1)
    values = ndcg_values(rng, 400)
    interval = bootstrap_interval(values, seed=0)
    low, high = drawn_one_by_one(values, rng)
    assert interval.mean == pytest.approx(values.mean())
    # a bound of 10,000 resamples has an error of about 3 % of the width
    assert interval.low == pytest.approx(low, abs=0.03 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.03 * (high - low))
    assert interval.low < interval.mean < interval.high


@pytest.mark.parametrize("kind", ["normal", "means over seeds", "one far away"])
def test_many_distinct_values_change_nothing(kind):
    rng = np.random.default_rng(5)
    users = 2000
    values = {
        "normal": rng.standard_normal(users),
        # most users are at zero, the rest anywhere
        "means over seeds": np.where(rng.random(users) < 0.7, 0.0, rng.random(users) ** 3),
        "one far away": np.append(rng.standard_normal(users - 1) * 0.01, 5.0),
    }[kind]
    assert len(np.unique(values)) > 512
    interval = bootstrap_interval(values, seed=0)
    low, high = drawn_one_by_one(values, rng)
    assert interval.mean == pytest.approx(values.mean(), abs=1e-12)
    assert interval.low == pytest.approx(low, abs=0.04 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.04 * (high - low))


@pytest.mark.parametrize(
    ("users", "trials", "spread"),
    [
        (300, 2000, 0.0),
        pytest.param(2000, 2000, 0.0, marks=pytest.mark.slow),
        pytest.param(600, 800, 0.05, marks=pytest.mark.slow),
    ],
)
def test_interval_holds_the_truth_as_often_as_it_says(users, trials, spread):
    """Of 2,000 intervals at 95 % the share that holds the truth has a standard error of .5 %, of 1,200 of .6 %.

    With a spread users differ by a little of their own, so that hardly two values are equal.
    """
    rng = np.random.default_rng(2)
    truth = float(WORTH @ CHANCES)
    held = 0
    for trial in range(trials):
        values = ndcg_values(rng, users) + rng.normal(0, spread, users)
        interval = bootstrap_interval(values, seed=trial, resamples=200 if spread else 500)
        held += interval.low <= truth <= interval.high
    assert 0.93 <= held / trials <= 0.97


def test_interval_of_what_does_not_vary_has_no_width():
    interval = bootstrap_interval(np.full(50, 0.25), seed=0)
    assert interval.low == interval.mean == interval.high == 0.25
    assert bootstrap_interval(np.zeros(3), seed=0) == Interval(0, 0, 0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), users=st.integers(1, 1500), distinct=st.sampled_from([2, 12, 10**6]))
def test_interval_does_not_depend_on_the_order_of_users(seed, users, distinct):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, distinct, users) / distinct - 0.5
    interval = bootstrap_interval(values, seed, resamples=200)
    assert bootstrap_interval(rng.permutation(values), seed, resamples=200) == interval
    assert values.min() - 1e-12 <= interval.low <= interval.high <= values.max() + 1e-12
    assert interval.mean == pytest.approx(values.mean(), abs=1e-12)


def test_interval_follows_its_seed():
    values = np.random.default_rng(3).random(100)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_nothing_and_not_a_number_are_refused():
    with pytest.raises(ValueError, match="at least one user"):
        bootstrap_interval(np.empty(0), seed=0)
    with pytest.raises(ValueError, match="finite"):
        bootstrap_interval(np.array([0.0, np.nan]), seed=0)


def test_memory_does_not_grow_with_resamples():
    values = np.random.default_rng(0).random(5000)
    tracemalloc.start()
    bootstrap_interval(values, seed=0, resamples=20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # the draws of all resamples together would be 80 MB, of all users 800 MB
    assert peak < 60e6
