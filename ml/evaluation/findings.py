"""The outcome of comparing two recommenders."""

from __future__ import annotations

from dataclasses import dataclass

from ml.evaluation.intervals import Interval

BETTER, WORSE, NOT_DIFFERENT = "better", "worse", "not significantly different"


@dataclass(frozen=True)
class Comparison:
    """A recommender against a reference, over the same users.

    Attributes:
        difference: in nDCG@10, positive where the recommender is better, with an interval over users and seeds.
        confidence: of the interval, at least .95: corrected by Holm's method like the test, so that the interval
            excludes zero exactly where the finding is ``better`` or ``worse``.
        p_value: of :func:`ml.evaluation.significance.paired_test`; nan with fewer than two users.
        p_value_adjusted: the same, corrected by Holm's method for all that were compared with the reference.
        finding: ``better``, ``worse`` or ``not significantly different``: whether the adjusted p-value is below .05.
        sentence: the finding with its figures.
    """

    difference: Interval
    confidence: float
    p_value: float
    p_value_adjusted: float
    finding: str
    sentence: str
