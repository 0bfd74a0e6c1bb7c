"""Numbers in sentences: shares, changes, differences and p-values."""

from __future__ import annotations

# the level that decides a finding, which no rounded p-value may fall onto
LEVEL = 0.05

_NO_BREAK = "\u00a0"


def percent(share: float) -> str:
    """A share as a percentage that never rounds something to nothing, nor almost all to all."""
    if 0 < share < 0.001:
        number = "< 0.1"
    elif 0.999 < share < 1:
        number = "> 99.9"
    else:
        number = f"{100 * share:.1f}"
    return f"{number}{_NO_BREAK}%"


def change(before: float, after: float) -> str:
    """By how much a figure changed, in per cent of what it was before, with a sign."""
    if before == 0:
        return "none" if after == 0 else "from nothing"
    number = f"{100 * (after / before - 1):+.1f}"
    return f"{'0.0' if float(number) == 0 else number.replace('-', '−')}{_NO_BREAK}%"


def signed(value: float) -> str:
    """A difference of metrics with its sign and four decimals."""
    return f"{value:+.4f}".replace("-", "−")


def p_text(p_value: float) -> str:
    """A p-value as it is printed everywhere: two digits (``0.012``), ``< 0.0001``; never 0, and never rounded onto the
    level that decides a finding."""
    if p_value < 0.0001:
        return "< 0.0001"
    rounded = f"{p_value:.2g}"
    return f"< {LEVEL:g}" if p_value < LEVEL <= float(rounded) else rounded


def p_figure(p_value: float) -> str:
    """A p-value in a table."""
    return p_text(p_value).replace(" ", _NO_BREAK)


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
