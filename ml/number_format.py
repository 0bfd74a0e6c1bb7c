"""How numbers are printed: the only place that decides on digits, signs and units.

Used by the leaderboard, the audits, the report, the comparison of two reports and the claims of published results, so
that a number looks the same wherever it stands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

NO_BREAK = "\u00a0"
LEVEL = 0.05
"""The level of all tests; a p-value below it is never printed as if it were not."""


def metric_value(value: float) -> str:
    """A metric, or a share between 0 and 1, with four decimals."""
    return f"{value:.4f}"


def signed_metric(value: float) -> str:
    """A difference of metrics with its sign and four decimals; one that rounds to zero has no sign."""
    printed = f"{value:+.4f}"
    return printed[1:] if float(printed) == 0 else printed.replace("-", "−")


def interval(low: float | None, high: float | None, signed: bool = False) -> str:
    """``0.0512 to 0.0571``; empty where a bound is missing or not a number."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    write = signed_metric if signed else metric_value
    return f"{write(low)} to {write(high)}"


def p_figure(value: float | None) -> str:
    """A p-value without its name: ``0.012``, ``< 0.0001``; empty where nothing was tested (``None`` or nan).

    Two digits; never 0, and never rounded onto :data:`LEVEL`.
    """
    if value is None or math.isnan(value):
        return ""
    if value < 0.0001:
        return f"<{NO_BREAK}0.0001"
    rounded = f"{value:.2g}"
    return f"<{NO_BREAK}{LEVEL:g}" if value < LEVEL <= float(rounded) else rounded


def p_value(value: float) -> str:
    """A p-value with its name: ``p = 0.012``, ``p < 0.0001``."""
    printed = p_figure(value)
    return f"p{NO_BREAK}{printed}" if printed.startswith("<") else f"p{NO_BREAK}={NO_BREAK}{printed}"


def percent(share: float) -> str:
    """A share as a percentage with one decimal, never rounding something to nothing, nor almost all to all."""
    if 0 < share < 0.001:
        number = "< 0.1"
    elif 0.999 < share < 1:
        number = "> 99.9"
    else:
        number = f"{100 * share:.1f}"
    return f"{number}{NO_BREAK}%"


def change(before: float, after: float) -> str:
    """The relative change of a figure in percent, with a sign."""
    if before == 0:
        return "none" if after == 0 else "from nothing"
    number = f"{100 * (after / before - 1):+.1f}"
    return f"{'0.0' if float(number) == 0 else number.replace('-', '−')}{NO_BREAK}%"


def count(value: float) -> str:
    """A whole number with separators: ``2,328``."""
    return f"{value:,.0f}".replace("-", "−")


def of(number: int, singular: str, plural: str | None = None) -> str:
    """A number and what is counted: ``1 user``, ``2,328 users``."""
    return f"{count(number)} {singular if number == 1 else plural or singular + 's'}"


def compact(value: float) -> str:
    """A tick label: ``0.5``, ``20``, ``200 k``, ``1.5 M``."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{NO_BREAK}{name}"
    return f"{value:g}"


def size(number: float) -> str:
    """Bytes in decimal units, as file managers and download pages print them: ``39.0 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.0f}{NO_BREAK}{unit}" if unit == "bytes" else f"{number:.1f}{NO_BREAK}{unit}"


def duration(seconds: float) -> str:
    """Seconds as ``420 ms``, ``12.0 s``, ``3 min 04 s`` or ``2 h 10 min``."""
    if seconds < 1:
        return f"{1000 * seconds:.0f}{NO_BREAK}ms"
    if seconds < 120:
        return f"{seconds:.1f}{NO_BREAK}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes}{NO_BREAK}min {rest:02d}{NO_BREAK}s"
    return f"{minutes // 60}{NO_BREAK}h {minutes % 60:02d}{NO_BREAK}min"


def day(timestamp: int) -> str:
    """Unix seconds as a date (UTC)."""
    return datetime.fromtimestamp(timestamp, UTC).date().isoformat()


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
