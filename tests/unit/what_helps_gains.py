"""A made-up comparison of recommenders with their plain counterparts."""

from __future__ import annotations

from ml.evaluation.intervals import Interval
from ml.evaluation.significance import Compared
from ml.evaluation.what_helps.content import Gain, WhatHelps


def gain(title: str, family: str, part: str, difference: float, p_value: float, **changes) -> Gain:
    """A gain of a tower over a plain tower, with an interval of ± .002."""
    compared = Compared(Interval(difference, difference - 0.002, difference + 0.002), 0.99, p_value / 2, p_value)
    values = {
        "recommender": title.lower().replace(" ", "_"),
        "title": title,
        "family": family,
        "plain": "tower",
        "plain_title": "Tower",
        "seeds": 3,
        "plain_seeds": 3,
        "part": part,
        "users": 150 if part == "all test users" else 40,
        "value": 0.05 + difference,
        "plain_value": 0.05,
        "compared": compared,
        "detectable": 0.0031,
    }
    return Gain(**values | changes)


def made_up_gains() -> WhatHelps:
    return WhatHelps(
        (
            gain("Small", "text", "all test users", 0.004, 0.001),
            gain("Small", "text", "short histories", 0.001, 1.0),
            gain("Small", "text", "cold targets", 0.02, 0.0004),
            gain("BM25", "text", "all test users", -0.01, 0.0002),
            gain("Crops", "contrast", "all test users", 0.0006, 0.7),
        ),
        (("Mamba", "sasrec_softmax"),),
    )
