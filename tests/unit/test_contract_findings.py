"""Sentences on broken rules, filled in from the templates of the contracts."""

import math

import numpy as np
import pytest

from orchestration.contracts.findings import check_template, filled, percent


@pytest.mark.parametrize(
    ("template", "value", "expected"),
    [
        ("{x}", 1_234_567, "1,234,567"),
        ("{x}", np.int64(1000), "1,000"),
        ("{x}", 5.0, "5"),
        ("{x}", 2.98765, "2.988"),
        ("{x:%}", 12 / 917, "1.31 %"),
        ("{x:%}", np.float64(0.001), "0.1 %"),
        ("{x:%}", 1e-7, "under 0.01 %"),
        ("{x:%}", 1 - 1e-7, "over 99.99 %"),
        ("{x:points}", -0.0512, "-5.12"),
        ("{x:day}", 805_852_800, "1995-07-16"),
        ("{x}", math.nan, "none"),
        ("{x:%}", None, "none"),
        ("{x}", ["train", "test"], "train, test"),
        ("{x}", np.array(["event", "price"], dtype=object), "event, price"),
        ("{x}", [], "none"),
        ("{x:columns}", '{"user": "uid", "item": "sku"}', "user = uid, item = sku"),
        ("{x:columns}", "{}", "no columns"),
        ("{x}", "a\nb", "a b"),
    ],
)
def test_values_are_written_in_words(template: str, value: object, expected: str):
    assert filled(template, {"x": value}) == expected


@pytest.mark.parametrize(("share", "expected"), [(0, "0 %"), (0.05, "5 %"), (0.333333, "33.33 %"), (1, "100 %")])
def test_shares(share: float, expected: str):
    assert percent(share) == expected


def test_a_template_names_what_there_is():
    check_template("{a} {max_value} {broken} {observed}", {"max_value": 1}, ["a"])
    with pytest.raises(ValueError, match=r"names \{b\}"):
        check_template("{b}", {}, ["a"])
    with pytest.raises(ValueError, match="format 'e'"):
        check_template("{a:e}", {}, ["a"])
