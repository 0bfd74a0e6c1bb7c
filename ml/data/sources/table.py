"""Interactions as a table of text: one line each, comma or tab separated, behind a line that names the columns.

Which column is what, :mod:`ml.data.sources.columns` says. A line needs

- as many fields as the line of names;
- a user and an item that are not blank and hold no control character, kept as they are;
- where there is a column of timestamps, one as in :mod:`ml.data.sources.timestamps`. Without that column the order
  of the lines is the order of the interactions (``given_position``, over the rows that are kept).

It may have a rating, any finite number; empty and ``nan`` are no rating. It may say whether the purchase was verified
(``true``, ``t``, ``yes``, ``y``, ``1``, ``1.0`` and their opposites, in any case); what is none of these counts
as not said, and ``verified`` is named in ``invalid_fields``. Fields may be quoted (``"a, b"``, a quote inside doubled)
as long as they end on their line. A `.csv` file is separated by commas, or where its line of names holds none, by
semicolons or tabs; every other file by tabs.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ml.data.lines import LandingError
from ml.data.reading import LANDING_REASONS, Added, Reject
from ml.data.sources.columns import find_columns
from ml.data.sources.timestamps import TIMESTAMP_REASONS, Timestamps, shown

REASONS = (
    *LANDING_REASONS,
    "blank line",
    "invalid UTF-8",
    "malformed quotes",
    "wrong number of fields",
    "user missing",
    "user with control characters",
    "item missing",
    "item with control characters",
    "rating not a number",
    *TIMESTAMP_REASONS,
)

CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")
_PLAIN_NUMBERS = re.compile(r"[0-9.eE+-]*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_FLAGS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
    **dict.fromkeys(("", "nan"), None),
}
# what is wrong with one line makes only so many lines slow
_LINES_TOGETHER = 128


class TableLines:
    """Reads the lines of one such file, its line of names first."""

    reasons = REASONS
    constants = MappingProxyType({"given_split": None})

    def __init__(self, path: Path, columns: Mapping[str, str] | None = None) -> None:
        """For errors, and by its name for the separator: the file; and the configured column of some roles."""
        self._path = path
        self._configured = dict(columns or {})
        self._places: dict[str, int] | None = None
        self._separator = ""
        self._fields = 0
        self._timestamps = Timestamps()
        self._rows = 0

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.reading.LineReader.add`.

        Raises:
            LandingError: the first line does not name the columns.
        """
        headers: tuple[int, ...] = ()
        if self._places is None and lines:
            self._read_names(lines[0])
            headers = (0,)
        rejected: list[tuple[int, Reject]] = []
        rest = lines[len(headers) :]
        if rest and not self._add_sound(rest, columns):
            for start in range(0, len(rest), _LINES_TOGETHER):
                together = rest[start : start + _LINES_TOGETHER]
                if not self._add_sound(together, columns):
                    rejected += self._add_one_by_one(together, start + len(headers), columns)
        return Added(rejected, headers)

    def _read_names(self, line: bytes) -> None:
        where = f"{self._path}, line 1"
        try:
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise LandingError(f"{where} is not UTF-8 text ({error.reason} at byte {error.start})") from error
        self._separator = "\t"
        if self._path.name.removesuffix(".gz").lower().endswith(".csv"):
            self._separator = next((separator for separator in ",;\t" if separator in text), ",")
        names = self._split(text)
        if isinstance(names, Reject):
            raise LandingError(f"{where} should name the columns: {names.reason} ({names.detail})")
        self._places = find_columns(names, self._configured, where)
        self._fields = len(names)

    def _split(self, text: str) -> list[str] | Reject:
        if '"' not in text:
            return text.split(self._separator)
        try:
            (fields,) = csv.reader([text], delimiter=self._separator, strict=True)
        except csv.Error as error:
            return Reject("malformed quotes", f"{error}; a field must end on its line")
        return fields

    def _add_sound(self, lines: list[bytes], columns: dict[str, list]) -> bool:
        """All of the lines, if nothing is wrong with any; otherwise none, and nothing is changed."""
        fields = self._fields_by_column(lines)
        if fields is None:
            return False
        users, items = (fields[self._places[role]] for role in ("user", "item"))
        for values in (users, items):
            if not all(map(str.strip, values)) or CONTROL_CHARACTER.search("".join(values)):
                return False
        count = len(lines)
        ratings: Sequence[float | None] | None = [None] * count
        verified: Sequence[bool | None] | None = ratings
        if "rating" in self._places:
            ratings = _sound_ratings(fields[self._places["rating"]])
        if "verified" in self._places:
            verified = _sound_flags(fields[self._places["verified"]])
        if ratings is None or verified is None:
            return False
        if "timestamp" in self._places:
            milliseconds = self._timestamps.read_all(fields[self._places["timestamp"]])
            if milliseconds is None:
                return False
            seconds, fractions = np.divmod(milliseconds, 1000)
            columns["timestamp"].extend(seconds.tolist())
            columns["millisecond"].extend(fractions.tolist())
            columns["given_position"].extend([0] * count)
        else:
            columns["timestamp"].extend([None] * count)
            columns["millisecond"].extend([0] * count)
            columns["given_position"].extend(range(self._rows + 1, self._rows + count + 1))
        columns["user_id"].extend(users)
        columns["item_id"].extend(items)
        columns["rating"].extend(ratings)
        columns["verified"].extend(verified)
        columns["invalid_fields"].extend([()] * count)
        self._rows += count
        return True

    def _fields_by_column(self, lines: list[bytes]) -> list[Sequence[str]] | None:
        try:
            text = b"\n".join(lines).decode("utf-8")
        except UnicodeDecodeError:
            return None
        if '"' in text:
            try:
                rows = list(csv.reader(text.split("\n"), delimiter=self._separator, strict=True))
            except csv.Error:
                return None
            if len(rows) != len(lines) or set(map(len, rows)) != {self._fields}:
                return None
            return list(zip(*rows, strict=True))
        separator = self._separator.encode()
        if {line.count(separator) for line in lines} != {self._fields - 1}:
            return None
        flat = text.replace("\n", self._separator).split(self._separator)
        return [flat[place :: self._fields] for place in range(self._fields)]

    def _add_one_by_one(
        self, lines: list[bytes], first_index: int, columns: dict[str, list]
    ) -> list[tuple[int, Reject]]:
        rejected = []
        for index, line in enumerate(lines, first_index):
            fields = self._read_fields(line)
            problem = fields if isinstance(fields, Reject) else self._add_fields(fields, columns)
            if problem is not None:
                rejected.append((index, problem))
        return rejected

    def _read_fields(self, line: bytes) -> list[str] | Reject:
        if not line.strip():
            return Reject("blank line", f"{len(line)} bytes of white space" if line else "")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as invalid:
            return Reject("invalid UTF-8", f"byte {invalid.start}: {invalid.reason}")
        fields = self._split(text)
        if not isinstance(fields, Reject) and len(fields) != self._fields:
            return Reject("wrong number of fields", f"{len(fields)} instead of {self._fields}")
        return fields

    def _add_fields(self, fields: list[str], columns: dict[str, list]) -> Reject | None:
        texts = {role: fields[place] for role, place in self._places.items()}
        problem = identity_problem("user", texts["user"]) or identity_problem("item", texts["item"])
        if problem:
            return problem
        rating = read_rating(texts.get("rating", ""))
        if isinstance(rating, Reject):
            return rating
        verified, is_valid = read_flag(texts.get("verified", ""))
        seconds, fraction, position = None, 0, 0
        if "timestamp" in texts:
            milliseconds = self._timestamps.read(texts["timestamp"])
            if isinstance(milliseconds, Reject):
                return milliseconds
            seconds, fraction = divmod(milliseconds, 1000)
        else:
            position = self._rows + 1
        self._rows += 1
        columns["user_id"].append(texts["user"])
        columns["item_id"].append(texts["item"])
        columns["rating"].append(rating)
        columns["timestamp"].append(seconds)
        columns["millisecond"].append(fraction)
        columns["verified"].append(verified)
        columns["given_position"].append(position)
        columns["invalid_fields"].append(() if is_valid else ("verified",))
        return None


def identity_problem(role: str, value: str | None) -> Reject | None:
    """Why a value cannot be a user or an item."""
    if value is None or not value.strip():
        return Reject(f"{role} missing", "" if value is None else repr(shown(value)))
    if CONTROL_CHARACTER.search(value):
        return Reject(f"{role} with control characters", repr(shown(value)))
    return None


def read_rating(text: str) -> float | Reject | None:
    """A finite number, ``None`` for no rating, or why it is neither."""
    text = text.strip()
    if not text or text.lower() == "nan":
        return None
    rating = float(text) if _NUMBER.fullmatch(text) else math.inf
    return rating if math.isfinite(rating) else Reject("rating not a number", shown(text))


def read_flag(text: str) -> tuple[bool | None, bool]:
    """What a text says of a purchase being verified, and whether it is one that can be understood."""
    text = text.strip().lower()
    return _FLAGS.get(text), text in _FLAGS


def _sound_ratings(texts: Sequence[str]) -> list[float | None] | None:
    if not _PLAIN_NUMBERS.fullmatch("".join(texts)):
        return None
    try:
        ratings = [float(text) if text else None for text in texts] if "" in texts else list(map(float, texts))
    except ValueError:
        return None
    return ratings if all(rating is None or math.isfinite(rating) for rating in ratings) else None


def _sound_flags(texts: Sequence[str]) -> list[bool | None] | None:
    understood = {text: read_flag(text) for text in set(texts)}
    if not all(is_valid for _, is_valid in understood.values()):
        return None
    return [understood[text][0] for text in texts]
