"""How audits print shares and differences in their sentences, and the audit of data that it cannot be made on."""

from __future__ import annotations

from ml.audits.audit import NOT_APPLICABLE, Audit
from ml.evaluation.significance import p_text

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


def p_figure(p_value: float) -> str:
    """A p-value in a table."""
    return p_text(p_value).replace(" ", _NO_BREAK)


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def not_applicable(name: str, title: str, reason: str, explanation: str) -> Audit:
    """What an audit says of data that it cannot be made on."""
    return Audit(
        name, title, f"This audit does not apply: {reason}.", NOT_APPLICABLE, explanation, facts={"applies": 0}
    )
