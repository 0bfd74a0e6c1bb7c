"""Sentences on what breaks a rule, made from the template (``finding``) in its contract.

A template names in braces

- columns, stored or derived, that the rule reads: the sentence is then said of each of the first rows that break it,
  and of a rule about the table as a whole of each of its first rows;
- arguments of the expectation, ``min_value``, ``max_value``, ``mostly``, ``value_set``, so that a sentence never gives
  another limit than the rule has;
- ``broken``, ``looked_at`` and ``share``: the rows that break it, those it looks at, and the quotient of both;
- ``allowed``: the share of rows that may break it, ``1 - mostly``;
- ``observed``: what a rule about the table as a whole found, and ``missing``: the values that it did not find.

Numbers are written with separators of thousands. ``{share:%}`` writes a share in per cent, ``{change:points}`` a
difference of shares in percentage points (``+3``), ``{min_value:day}`` seconds since 1970 as a day, and
``{columns_used:columns}`` a JSON object of roles and columns as words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from string import Formatter
from typing import Any

_ABOUT_THE_RULE = {"broken", "looked_at", "share", "allowed", "observed", "missing"}
FORMATS = ("", "%", "points", "day", "columns")


def check_template(template: str, arguments: Mapping[str, Any], columns: Collection[str]) -> None:
    """Whether a template can be filled in.

    Args:
        template: of a rule.
        arguments: of its expectation.
        columns: that it reads, stored or derived.

    Raises:
        ValueError: it names something else, or a format that does not exist.
    """
    known = {*_ABOUT_THE_RULE, *arguments, *columns}
    for _, name, form, _ in Formatter().parse(template):
        if name is not None and name not in known:
            raise ValueError(f"names {{{name}}}, which is no column, argument or count of the rule")
        if name is not None and form not in FORMATS:
            raise ValueError(f"has the format {form!r}; known are {', '.join(map(repr, FORMATS))}")
    if "allowed" in names_of(template) and "mostly" not in arguments:
        raise ValueError("names {allowed}, and the rule has no mostly")


def names_of(template: str) -> set[str]:
    """Names in the braces of a template."""
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def is_about_rows(template: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a template is filled in for each row, because it names a column."""
    return bool(names_of(template) - _ABOUT_THE_RULE - arguments.keys())


def filled(template: str, values: Mapping[str, Any]) -> str:
    """A template with its values, on one line.

    Raises:
        KeyError: a value is missing.
    """
    return " ".join(template.format_map({name: _Shown(value) for name, value in values.items()}).split())


def percent(share: float) -> str:
    """A share in per cent; never 0 % for some rows, nor 100 % for all but some."""
    if 0 < share < 0.0001:
        return "under 0.01 %"
    return "over 99.99 %" if 0.9999 < share < 1 else f"{round(share * 100, 2):g} %"


class _Shown:
    """A value as a template writes it."""

    def __init__(self, value: Any) -> None:
        self._value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value

    def __format__(self, form: str) -> str:
        value = self._value
        if form and _is_number(value):
            if form == "%":
                return percent(value)
            if form == "points":
                return f"{round(value * 100, 2):+g}"
            if form == "day":
                return datetime.fromtimestamp(value, UTC).date().isoformat()
        if form == "columns" and isinstance(value, str):
            return ", ".join(f"{role} = {name}" for role, name in json.loads(value).items()) or "no columns"
        return _plain_text(value)


def _plain_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "none"
    if _is_number(value):
        return f"{int(value):,}" if float(value).is_integer() else f"{value:,.4g}"
    if isinstance(value, Sequence) or hasattr(value, "tolist"):
        return ", ".join(_plain_text(entry) for entry in value) or "none"
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
