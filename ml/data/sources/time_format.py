"""Date formats: the known ones, and those that a source names.

A source names its format as ``time_format``: a pattern of ``datetime.strptime`` (``%d.%m.%Y %H:%M``), a unit counted
from 1970 (``seconds``, ``milliseconds``, ``days``, ...), or a unit and the day from which it counts (``days since
1899-12-30``).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import END_OF_TIME

# milliseconds that a number counts, as a fraction
UNITS = {
    "days": (86_400_000, 1),
    "hours": (3_600_000, 1),
    "minutes": (60_000, 1),
    "seconds": (1000, 1),
    "milliseconds": (1, 1),
    "microseconds": (1, 1000),
    "nanoseconds": (1, 1_000_000),
}
# numbers that are a date of the calendar, or a date and a time, by the count of their digits
CALENDAR_LENGTHS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_HALF_MILLISECOND = timedelta(microseconds=500)
_SINCE = re.compile(rf"({'|'.join(UNITS)})(?: since (.+))?")
_YEAR_FIRST = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})(?!\d)(.*)", re.DOTALL)
_ISO_WITH_SHORT_PARTS = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(.*))?")
_DAY_OR_MONTH_FIRST = re.compile(r"\d{1,2}([/.-])\d{1,2}\1(?:\d{4}|\d{2})(?!\d)")
# the two digits of the month stand first in dates of reviews by Amazon, `02 26, 2014`
_WITH_NAMES = (
    "%m %d, %Y",
    "%d %b %Y",
    "%d %B %Y",
    "%d-%b-%Y",
    "%d-%B-%Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %d %Y",
    "%B %d %Y",
    "%a, %d %b %Y",
    "%d %b, %Y",
    "%d %B, %Y",
    "%Y-%b-%d",
)
_TIMES_OF_DAY = ("", " %H:%M:%S", " %H:%M", " %H:%M:%S %z", " %I:%M %p", " %I:%M:%S %p")
_ANYWHERE = ("%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y")
_ZONES = re.compile(r"\s*(?:UTC|GMT|Z)$")
_LETTER = re.compile(r"[A-Za-z]{3}")


@dataclass(frozen=True)
class TimeFormat:
    """A date format named by a source.

    Attributes:
        text: the pattern, the unit, or the unit and the day from which it counts.

    Raises:
        LandingError: it is none of these.
    """

    text: str
    _unit: str | None = field(init=False, default=None, repr=False)
    _origin: int = field(init=False, default=0, repr=False)

    def __post_init__(self) -> None:
        since = _SINCE.fullmatch(self.text.strip())
        try:
            if since:
                object.__setattr__(self, "_unit", since[1])
                object.__setattr__(self, "_origin", date_milliseconds(since[2]) if since[2] else 0)
            elif "%" in self.text:
                datetime.strptime(datetime(2020, 11, 30, 23, 59, 58, tzinfo=UTC).strftime(self.text), self.text)
            else:
                raise ValueError("it holds neither a unit nor a % of a pattern")
        except (ValueError, re.error) as error:
            raise LandingError(
                f"time_format = {self.text!r} is not understood ({error}); give a pattern such as %d.%m.%Y %H:%M, a "
                f"unit ({', '.join(UNITS)}), or a unit and a day, as in days since 1970-01-01"
            ) from error

    def read(self, text: str) -> int:
        """Milliseconds since 1970 from a text; ``ValueError`` where it is not written so."""
        if self._unit is not None:
            number = int(text) if text.isdigit() else float(text)
            if not math.isfinite(number):
                raise ValueError(text)
            return int(self._counted(np.array([number]))[0])
        return _milliseconds(datetime.strptime(text, self.text))

    def from_numbers(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`ml.data.sources.timestamps.Timestamps.from_numbers`."""
        if self._unit is not None:
            milliseconds = self._counted(numbers)
            is_possible = (milliseconds >= 1000) & (milliseconds < END_OF_TIME * 1000)
            return np.where(is_possible, milliseconds, 0), is_possible
        for length, pattern in CALENDAR_LENGTHS.items():
            if pattern == self.text:
                return calendar_milliseconds(numbers, length)
        return np.zeros(len(numbers), dtype=np.int64), np.zeros(len(numbers), dtype=bool)

    def _counted(self, numbers: np.ndarray) -> np.ndarray:
        assert self._unit is not None  # the callers look
        return milliseconds_since_1970(numbers, UNITS[self._unit]) + self._origin


def milliseconds_since_1970(numbers: np.ndarray, unit: tuple[int, int]) -> np.ndarray:
    """Numbers of a unit of :data:`UNITS` as whole milliseconds, int64 ``[rows]``; halves are rounded up.

    A number too large for a date gives one beyond 2100.
    """
    times, parts = unit
    limit = END_OF_TIME * 1000
    if numbers.dtype.kind == "f":
        scaled = np.floor(numbers * (times / parts) + 0.5)
        return np.clip(scaled, -limit, limit).astype(np.int64)
    numbers = np.clip(numbers.astype(np.int64), -limit // times * parts, limit // times * parts)
    if parts == 1:
        return numbers * times
    return numbers // parts + (numbers % parts * 2 >= parts)


def calendar_milliseconds(numbers: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers such as 20140513, with an hour, minutes and seconds behind it for a length of more than 8 digits.

    Returns:
        Milliseconds since 1970, and which of the numbers are possible times.
    """
    whole = numbers.astype(np.int64)
    digits = np.where((whole >= 0) & (whole < 10**length), whole, 0) * 10 ** (14 - length)
    days, clock = np.divmod(digits, 1_000_000)
    years, month, day = days // 10_000, days // 100 % 100, days % 100
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    is_possible = (whole == numbers) & (years >= 1970) & (years < 2100) & (month >= 1) & (month <= 12) & (day >= 1)
    is_possible &= (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(is_possible, (years - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    dates = months.astype("datetime64[D]") + (np.where(is_possible, day, 1) - 1)
    is_possible &= dates.astype("datetime64[M]") == months
    seconds = dates.astype("datetime64[s]").astype(np.int64) + hour * 3600 + minute * 60 + second
    is_possible &= seconds > 0
    return np.where(is_possible, seconds * 1000, 0), is_possible


def date_milliseconds(text: str) -> int:
    """A date, or a date and a time, in a way of writing that has one meaning, as milliseconds since 1970.

    Raises:
        ValueError: it is not known, or day and month cannot be distinguished; the remedy is then named.
    """
    try:
        return _milliseconds(datetime.fromisoformat(text))
    except ValueError:
        pass
    plain = _ZONES.sub("", text.strip())
    if plain != text:
        return date_milliseconds(plain)
    if year_first := _YEAR_FIRST.fullmatch(plain):
        year, month, day, rest = year_first.groups()
        return date_milliseconds(f"{year}-{int(month):02}-{int(day):02}{rest}")
    if (short := _ISO_WITH_SHORT_PARTS.fullmatch(plain)) and not _is_iso(short):
        year, month, day, hour, minute, rest = short.groups()
        clock = "" if hour is None else f" {int(hour):02}:{minute}{rest}"
        return date_milliseconds(f"{year}-{int(month):02}-{int(day):02}{clock}")
    if _DAY_OR_MONTH_FIRST.match(plain):
        raise ValueError('day or month first? say which, as in time_format = "%d/%m/%Y" or "%m/%d/%Y %H:%M"')
    if _LETTER.search(plain) or re.match(r"\d{1,2} \d{1,2}, \d{4}", plain):
        for pattern in (*(date + clock for date in _WITH_NAMES for clock in _TIMES_OF_DAY), *_ANYWHERE):
            try:
                return _milliseconds(datetime.strptime(plain, pattern))
            except ValueError:
                continue
    raise ValueError('no way of writing a date that is known; say how it is read, as in time_format = "%d.%m.%Y %H:%M"')


def _is_iso(parts: re.Match[str]) -> bool:
    """Whether month, day and hour have two digits, so that there is nothing to fill up."""
    return all(part is None or len(part) == 2 for part in parts.group(2, 3, 4))


def _milliseconds(time: datetime) -> int:
    passed = time - _EPOCH if time.tzinfo is None else time - _EPOCH_UTC
    return (passed + _HALF_MILLISECOND) // _MILLISECOND
