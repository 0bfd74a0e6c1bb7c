"""Timestamps of tables: numbers and dates, converted to milliseconds since 1970 (UTC).

A number, whole or with a fraction, counts seconds, milliseconds, microseconds or nanoseconds since 1970. The first
number of a file that is a possible time decides which, for the whole file: a number of another kind further on is out
of range, and not read as a time in 1970. Where most of the first numbers are days of the calendar (``20140513``, or
with a time behind them), all are read as such. A text that is no number is a date or a date with a time: in ISO 8601,
with slashes or dots behind a year that comes first, or with the name of the month; without a zone it is UTC. Where day
and month cannot be distinguished, and for everything else, a source says how times are written (:class:`TimeFormat`).
Fractions beyond milliseconds are rounded. Possible are times from 1970-01-01 00:00:01 until 2100.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ml.data.landing.schema import END_OF_TIME, Reject
from ml.data.sources.time_format import (
    CALENDAR_LENGTHS,
    UNITS,
    TimeFormat,
    calendar_milliseconds,
    date_milliseconds,
    milliseconds_since_1970,
)

# as seconds far beyond 2100, as milliseconds in March 1973
LEAST_MILLISECONDS = 100_000_000_000

TIMESTAMP_REASONS = ("timestamp missing", "timestamp not a number or date", "timestamp out of range")

# by unit, the numbers that are possible times in it and in no other
_RANGES = {
    name: (1 if name == "seconds" else LEAST_MILLISECONDS * 1000**place, END_OF_TIME * 1000 ** (place + 1))
    for place, name in enumerate(("milliseconds", "microseconds", "nanoseconds"))
}
_RANGES = {"seconds": (1, END_OF_TIME), **_RANGES}
# A count of days, of rows or of anything but seconds stays below; seconds pass it in April 1970.
_LEAST_SECONDS = 10_000_000
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_PLAIN_NUMBERS = re.compile(r"[0-9.]*")
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){2,}")
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?: ?[AaPp][Mm])?")
_LEAST_CALENDAR_SHARE = 0.5
_LONGEST_WHOLE_NUMBER = 19
MISSING = ("", "nan", "nat", "null", "none", "\\n", "na", "n/a")


class Timestamps:
    """Reads the timestamps of one file, in its order; remembers what its numbers count.

    Args:
        time_format: how they are written, where the source says so.
    """

    def __init__(self, time_format: TimeFormat | None = None) -> None:
        self._format = time_format
        self._unit: str | None = None

    @property
    def unit(self) -> str | None:
        """The unit or format of times, as far as known."""
        return self._format.text if self._format else self._unit

    def learn(self, texts: list[str]) -> str | None:
        """Look at the first times of a file, before any is read.

        Returns:
            What is wrong with them as a whole, with the remedy, or ``None``.
        """
        if self._format is not None:
            return None
        written = [text.strip() for text in texts if text.strip().lower() not in MISSING]
        if written and all(map(_CLOCK.fullmatch, written)):
            return (
                f"holds times of a day without the day, as {written[0]!r}; name a column of dates, as in "
                'timestamp = "date" under [columns] of source.toml, or join date and time in one column'
            )
        numbers = [text for text in written if _NUMBER.fullmatch(text)]
        whole = [text for text in numbers if text.isascii() and text.isdigit()]
        for length, pattern in CALENDAR_LENGTHS.items():
            candidates = [int(text) for text in whole if len(text) == length]
            # a few placeholders such as 0 or 99999999 do not make the others seconds
            if candidates and len(candidates) > _LEAST_CALENDAR_SHARE * len(numbers):
                _, is_possible = calendar_milliseconds(np.array(candidates, dtype=np.int64), length)
                if is_possible.mean() > _LEAST_CALENDAR_SHARE:
                    self._format = TimeFormat(pattern)
                    return None
        values = [float(text) for text in numbers]
        if values and max(values) < _LEAST_SECONDS and len(numbers) == len([text for text in texts if text.strip()]):
            return (
                f"holds numbers up to {max(values):g}, which are no seconds since 1970; if they are no times, put "
                "timestamp = false under [columns] of source.toml, and the order of the lines counts; if they "
                "count from "
                'a day on, say so, as in time_format = "days since 1970-01-01"'
            )
        return None

    def read(self, text: str) -> int | Reject:
        """Milliseconds since 1970 from one text, or why there are none."""
        text = text.strip()
        if text.lower() in MISSING:
            return Reject("timestamp missing", text)
        if self._format is not None:
            return self._formatted(self._format, text)
        if _THOUSANDS.fullmatch(text):
            text = text.replace(",", "")
        if _NUMBER.fullmatch(text):
            if text.isdigit() and len(text) > _LONGEST_WHOLE_NUMBER:
                return Reject("timestamp out of range", f"{shown(text)}: {len(text)} digits")
            number = int(text) if text.isdigit() else float(text)
            return self._from_number(number, text)
        try:
            milliseconds = date_milliseconds(text)
        except (ValueError, OverflowError) as error:
            return Reject("timestamp not a number or date", f"{shown(text)}{_hint(error)}")
        if not 1000 <= milliseconds < END_OF_TIME * 1000:
            return Reject("timestamp out of range", shown(text))
        self._unit = self._unit or "dates"
        return milliseconds

    def read_all(self, texts: Sequence[str]) -> np.ndarray | None:
        """As :meth:`read` on each text, int64 ``[texts]``; ``None``, and nothing learnt, if one is rejected."""
        joined = "".join(texts)
        if self._format is not None or not joined.isascii():
            return self._read_each(texts)
        try:
            if joined.isdigit():
                if max(map(len, texts)) > _LONGEST_WHOLE_NUMBER:
                    return None
                numbers = np.array(list(map(int, texts)), dtype=np.int64)
            elif _PLAIN_NUMBERS.fullmatch(joined):
                numbers = np.array(list(map(float, texts)))
            else:
                milliseconds = _from_dates(texts)
                if milliseconds is not None:
                    self._unit = self._unit or "dates"
                return milliseconds
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
        if self._format is not None:
            return self._format.from_numbers(numbers)
        if self._unit not in _RANGES:
            is_in_range = [(numbers >= low) & (numbers < high) & is_sound for low, high in _RANGES.values()]
            candidates = np.flatnonzero(np.logical_or.reduce(is_in_range))
            if len(candidates):
                self._unit = next(
                    unit for unit, matches in zip(_RANGES, is_in_range, strict=True) if matches[candidates[0]]
                )
        if self._unit not in _RANGES:
            is_possible = np.zeros(len(numbers), dtype=bool)
            for low, high in _RANGES.values():
                is_possible |= (numbers >= low) & (numbers < high)
            return np.zeros(len(numbers), dtype=np.int64), is_possible
        low, high = _RANGES[self._unit]
        is_possible = (numbers >= low) & (numbers < high)
        milliseconds = milliseconds_since_1970(np.where(is_possible, numbers, 0), UNITS[self._unit])
        return milliseconds, is_possible & (milliseconds < END_OF_TIME * 1000)

    def describe(self, text: str) -> str:
        """A number that is out of range, with what it was taken for."""
        return f"{shown(text)}{f' (the file counts {self.unit})' if self.unit else ''}"

    def _from_number(self, number: int | float, text: str) -> int | Reject:
        milliseconds, is_possible = self.from_numbers(np.array([number]), np.ones(1, dtype=bool))
        return int(milliseconds[0]) if is_possible[0] and math.isfinite(number) else self._out_of_range(text)

    def _out_of_range(self, text: str) -> Reject:
        return Reject("timestamp out of range", self.describe(text))

    def _formatted(self, written: TimeFormat, text: str) -> int | Reject:
        try:
            milliseconds = written.read(text)
        except (ValueError, OverflowError):
            return Reject("timestamp not a number or date", f"{shown(text)}, expected {written.text}")
        return milliseconds if 1000 <= milliseconds < END_OF_TIME * 1000 else self._out_of_range(text)

    def _read_each(self, texts: Sequence[str]) -> np.ndarray | None:
        before = self._unit
        read = [self.read(text) for text in texts]
        if any(isinstance(value, Reject) for value in read):
            self._unit = before
            return None
        return np.array(read, dtype=np.int64)


def shown(text: str, longest: int = 80) -> str:
    """A value, short enough for a table."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _hint(error: Exception) -> str:
    return f": {error}" if "time_format" in str(error) else ""


def _from_dates(texts: Sequence[str]) -> np.ndarray | None:
    if any(text[:8].isdigit() for text in texts):
        return None  # a number, or a date that could be taken for one
    milliseconds = np.array([_known_date(text) for text in texts], dtype=np.int64)
    is_possible = (milliseconds >= 1000) & (milliseconds < END_OF_TIME * 1000)
    return milliseconds if is_possible.all() else None


@lru_cache(maxsize=1 << 16)
def _known_date(text: str) -> int:
    return date_milliseconds(text)


__all__ = ["LEAST_MILLISECONDS", "TIMESTAMP_REASONS", "TimeFormat", "Timestamps", "shown"]
