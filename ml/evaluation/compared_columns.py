"""The columns that a paired comparison is saved in, the same in every table of comparisons.

What is not known, as the interval of a difference that does not vary, is null in a table and NaN in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml.evaluation.intervals import Interval
from ml.evaluation.significance import Compared

COMPARED = ("difference", "difference_low", "difference_high", "confidence", "p_value", "p_value_adjusted")


def compared_cells(compared: Compared | None) -> dict[str, float | None]:
    """The cells of a comparison, by column; all null where there is none."""
    if compared is None:
        return dict.fromkeys(COMPARED)
    values = (
        *(compared.difference.mean, compared.difference.low, compared.difference.high),
        *(compared.confidence, compared.p_value, compared.p_value_adjusted),
    )
    return dict(zip(COMPARED, map(known, values), strict=True))


def compared_of(row: Mapping[str, Any]) -> Compared | None:
    """What :func:`compared_cells` made the cells of a row of."""
    if row["difference"] is None:
        return None
    mean, low, high, *others = (number(row[name]) for name in COMPARED)
    return Compared(Interval(mean, low, high), *others)


def known(value: float) -> float | None:
    """A number for a table."""
    return None if np.isnan(value) else float(value)


def number(value: float | None) -> float:
    """A number from a table."""
    return np.nan if value is None else value
