"""How numbers are printed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import number_format as numbers
from ml.evaluation import significance


def plain(text: str) -> str:
    return text.replace(numbers.NO_BREAK, " ")


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0, "p < 0.0001"),
        (0.00009, "p < 0.0001"),
        (0.0123, "p = 0.012"),
        (0.0499, "p < 0.05"),
        (0.04999, "p < 0.05"),
        (0.05, "p = 0.05"),
        (1, "p = 1"),
    ],
)
def test_p_values(value, printed):
    assert plain(numbers.p_value(value)) == printed
    assert plain(numbers.p_figure(value)) == printed.removeprefix("p ").removeprefix("= ")


@given(st.floats(0, 1))
def test_a_p_value_is_never_rounded_onto_the_level_of_the_tests(value):
    assert numbers.LEVEL == significance.LEVEL
    printed = plain(numbers.p_figure(value))
    is_below = printed.startswith("<") or float(printed) < significance.LEVEL
    assert is_below == (value < significance.LEVEL)
    assert printed != "0"


def test_nothing_is_printed_where_nothing_was_tested():
    assert numbers.p_figure(None) == numbers.p_figure(math.nan) == ""
    assert numbers.interval(None, 0.1) == numbers.interval(math.nan, 0.1) == ""


@pytest.mark.parametrize(
    ("share", "printed"),
    [
        (0, "0.0 %"),
        (0.0004, "< 0.1 %"),
        (0.034, "3.4 %"),
        (0.141, "14.1 %"),
        (0.996, "99.6 %"),
        (0.9999, "> 99.9 %"),
        (1, "100.0 %"),
        (1.25, "125.0 %"),
    ],
)
def test_percentages_never_round_something_to_nothing(share, printed):
    assert plain(numbers.percent(share)) == printed


@pytest.mark.parametrize(
    ("before", "after", "printed"),
    [
        (0.5, 0.25, "−50.0 %"),
        (0.5, 1, "+100.0 %"),
        (0.5, 0.5, "0.0 %"),
        (0.5, 0.50001, "0.0 %"),
        (0, 0, "none"),
        (0, 0.5, "from nothing"),
    ],
)
def test_relative_changes(before, after, printed):
    assert plain(numbers.change(before, after)) == printed


@given(st.floats(-1, 1))
def test_a_difference_has_a_sign_unless_it_rounds_to_zero(value):
    printed = numbers.signed_metric(value)
    assert float(printed.replace("−", "-")) == pytest.approx(value, abs=5e-5)
    assert (printed[0] in "+−") == (printed != "0.0000")


def test_other_numbers():
    assert numbers.interval(0.05, 0.0571) == "0.0500 to 0.0571"
    assert numbers.interval(-0.001, 0.003, signed=True) == "−0.0010 to +0.0030"
    assert [numbers.count(number) for number in (0, 2328, -5)] == ["0", "2,328", "−5"]
    assert [numbers.of(number, "user") for number in (1, 2328)] == ["1 user", "2,328 users"]
    assert [plain(numbers.size(number)) for number in (999, 39_000_123)] == ["999 bytes", "39.0 MB"]
    durations = [plain(numbers.duration(seconds)) for seconds in (0.42, 12, 184.2, 7800)]
    assert durations == ["420 ms", "12.0 s", "3 min 04 s", "2 h 10 min"]
    assert [plain(numbers.compact(number)) for number in (0.5, 20, 2e5, 1.5e6)] == ["0.5", "20", "200 k", "1.5 M"]
    assert numbers.day(1_393_372_800) == "2014-02-26"
    assert [numbers.listed(list("abc"[:n])) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
