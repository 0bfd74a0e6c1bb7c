"""When an interaction of a table happened: numbers and dates, read into milliseconds since 1970 (UTC).

A number, whole or with a fraction, counts seconds or milliseconds; which of the two, the first number of a file
says that is a possible time (:data:`LEAST_MILLISECONDS` and above: milliseconds). It holds for the whole file, so a
number of the other kind further on is out of range and not read as a time in 1970. A text that is no number is a
date or a date with a time in ISO 8601; without a zone it is UTC. Fractions beyond milliseconds are rounded.
Possible are times from 1970-01-01 00:00:01 until 2100.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

import numpy as np

from ml.data.reading import END_OF_TIME, Reject

# as seconds far beyond 2100, as milliseconds in March 1973
LEAST_MILLISECONDS = 100_000_000_000

TIMESTAMP_REASONS = ("timestamp missing", "timestamp not a number or date", "timestamp out of range")

_SECONDS, _MILLISECONDS = 1000, 1  # milliseconds that a number counts
_UNIT_NAMES = {_SECONDS: "seconds", _MILLISECONDS: "milliseconds"}
_RANGES = {
    _SECONDS: (1, END_OF_TIME),
    _MILLISECONDS: (LEAST_MILLISECONDS, END_OF_TIME * 1000),
}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_PLAIN_NUMBERS = re.compile(r"[0-9.]*")
_LONGEST_WHOLE_NUMBER = 18
_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_HALF_MILLISECOND = timedelta(microseconds=500)


class Timestamps:
    """Reads the timestamps of one file, in its order; remembers what its numbers count."""

    def __init__(self) -> None:
        self._unit: int | None = None

    def read(self, text: str) -> int | Reject:
        """Milliseconds since 1970 from one text, or why there are none."""
        text = text.strip()
        if not text or text.lower() == "nan":
            return Reject("timestamp missing", text)
        if _NUMBER.fullmatch(text):
            if text.isdigit() and len(text) > _LONGEST_WHOLE_NUMBER:
                return Reject("timestamp out of range", f"{shown(text)}: {len(text)} digits")
            number = int(text) if text.isdigit() else float(text)
            return self._from_number(number, text)
        try:
            milliseconds = _from_date(text)
        except (ValueError, OverflowError):
            return Reject("timestamp not a number or date", shown(text))
        if not 1000 <= milliseconds < END_OF_TIME * 1000:
            return Reject("timestamp out of range", shown(text))
        return milliseconds

    def read_all(self, texts: list[str]) -> np.ndarray | None:
        """As :meth:`read` on each text, int64 ``[texts]``; ``None``, and nothing learnt, if one is rejected."""
        joined = "".join(texts)
        if not joined.isascii():
            return None
        try:
            if joined.isdigit():
                if max(map(len, texts)) > _LONGEST_WHOLE_NUMBER:
                    return None
                numbers = np.array(list(map(int, texts)), dtype=np.int64)
            elif _PLAIN_NUMBERS.fullmatch(joined):
                numbers = np.array(list(map(float, texts)))
            else:
                return _from_dates(texts)
        except (ValueError, OverflowError):
            return None
        before = self._unit
        milliseconds, is_possible = self.from_numbers(numbers, np.ones(len(texts), dtype=bool))
        if not is_possible.all():
            self._unit = before
            return None
        return milliseconds

    def from_numbers(self, numbers: np.ndarray, is_sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Milliseconds since 1970 of numbers, and which of them are possible times.

        Args:
            numbers: integers or floats ``[rows]``, each finite.
            is_sound: which rows have nothing else wrong, bool ``[rows]``; the first of them with a possible time
                decides what the numbers count.

        Returns:
            Milliseconds, int64 ``[rows]``, 0 where the time is not possible; and bool ``[rows]``.
        """
        if self._unit is None:
            is_in_range = [(numbers >= low) & (numbers < high) & is_sound for low, high in _RANGES.values()]
            candidates = np.flatnonzero(is_in_range[0] | is_in_range[1])
            if len(candidates):
                self._unit = _SECONDS if is_in_range[0][candidates[0]] else _MILLISECONDS
        if self._unit is None:
            is_possible = np.zeros(len(numbers), dtype=bool)
            for low, high in _RANGES.values():
                is_possible |= (numbers >= low) & (numbers < high)
            return np.zeros(len(numbers), dtype=np.int64), is_possible
        low, high = _RANGES[self._unit]
        is_possible = (numbers >= low) & (numbers < high)
        numbers = np.where(is_possible, numbers, 0)
        if numbers.dtype.kind == "f":
            milliseconds = np.floor(numbers * self._unit + 0.5).astype(np.int64)
            is_possible &= milliseconds < END_OF_TIME * 1000
        else:
            milliseconds = numbers.astype(np.int64) * self._unit
        return milliseconds, is_possible

    def describe(self, text: str) -> str:
        """A number that is out of range, with what it was taken for."""
        unit = "" if self._unit is None else f" (the file counts {_UNIT_NAMES[self._unit]})"
        return f"{shown(text)}{unit}"

    def _from_number(self, number: int | float, text: str) -> int | Reject:
        unit = self._unit
        if unit is None:
            unit = next((unit for unit, (low, high) in _RANGES.items() if low <= number < high), None)
        if unit is not None:
            low, high = _RANGES[unit]
            if low <= number < high:
                milliseconds = number * unit if isinstance(number, int) else math.floor(number * unit + 0.5)
                if milliseconds < END_OF_TIME * 1000:
                    self._unit = unit
                    return milliseconds
        return Reject("timestamp out of range", self.describe(text))


def shown(text: str, longest: int = 80) -> str:
    """A value, short enough for a table."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _from_date(text: str) -> int:
    time = datetime.fromisoformat(text)
    passed = time - _EPOCH if time.tzinfo is None else time - _EPOCH_UTC
    return (passed + _HALF_MILLISECOND) // _MILLISECOND


def _from_dates(texts: list[str]) -> np.ndarray | None:
    if any(text[:8].isdigit() for text in texts):
        return None  # a number, or a date that could be taken for one
    milliseconds = np.array(list(map(_from_date, texts)), dtype=np.int64)
    is_possible = (milliseconds >= 1000) & (milliseconds < END_OF_TIME * 1000)
    return milliseconds if is_possible.all() else None
