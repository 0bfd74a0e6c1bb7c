"""The laws that ``benchmarks/scaling.py`` fits, and the tables that it prints of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.scaling import STAGES, Cost, fit, law_table, measured_table

SIZES = [1e6, 2e6, 5e6, 1e7, 3e7]


def test_an_exact_law_is_found_without_doubt() -> None:
    law = fit(SIZES, [3e-6 * size**1.5 for size in SIZES], 1e9)
    assert law.exponent == pytest.approx(1.5)
    assert (law.low, law.high) == pytest.approx((1.5, 1.5), abs=1e-6)
    assert (law.predicted_low, law.predicted, law.predicted_high) == pytest.approx([3e-6 * 1e9**1.5] * 3, rel=1e-5)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    exponents = predictions = 0
    for _ in range(400):
        noise = np.exp(generator.normal(0, 0.1, len(SIZES) + 1))
        law = fit(SIZES, [size**1.1 * factor for size, factor in zip(SIZES, noise[1:], strict=True)], 1e9)
        exponents += law.low <= 1.1 <= law.high
        predictions += law.predicted_low <= 1e9**1.1 * noise[0] <= law.predicted_high
    # of a binomial with 0.95, four standard deviations
    assert min(exponents, predictions) / 400 > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 400)
    assert max(exponents, predictions) / 400 < 0.95 + 4 * math.sqrt(0.95 * 0.05 / 400)


def test_two_points_give_a_line_and_no_interval() -> None:
    law = fit(SIZES[:2], [1.0, 4.0], 1e9)
    assert law.exponent == pytest.approx(2)
    assert (law.low, law.high, law.predicted_high) == (-math.inf, math.inf, math.inf)


@pytest.mark.parametrize("values", [[1.0], [1.0, 0.0], [1.0, -1.0]])
def test_what_has_no_law_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="a law needs two sizes and positive costs"):
        fit(SIZES[: len(values)], values, 1e9)


def test_tables_say_what_was_not_run_what_is_not_determined_and_what_grows_too_fast() -> None:
    costs = [Cost("ranking", int(size), 2.0, 1e-9 * size**2, 10**9) for size in SIZES]
    uneven = dict(zip(SIZES, (1, 9, 1, 9, 1), strict=True))
    costs += [Cost("landing", int(size), 1.0, noise * size, 10**9) for size, noise in uneven.items()]
    costs += [Cost("arrays", 1_000_000, 1.0, 1.0, 10**9)]
    measured = {line.split(" | ")[0].strip("| "): line for line in measured_table(costs).splitlines()[2:]}
    assert list(measured) == list(STAGES)
    assert measured["codes"].count("not run") == len(SIZES)
    laws = {line.split(" | ")[0].strip("| "): line for line in law_table(costs, 10**9).splitlines()[2:]}
    assert laws["ranking"].startswith("| ranking | 5 | 2.00 (2.00 to 2.00) |")
    assert laws["ranking"].endswith("| no |")
    assert "not determined" in laws["landing"]
    assert laws["landing"].endswith("| not certain |")
    assert laws["arrays"] == "| arrays | 1 |" + " not fitted |" * 5
