"""Interactions as a table of text: a record each, its fields separated, behind a line that names the columns.

Which column is what, :mod:`ml.data.sources.columns` says; what separates and quotes the fields,
:mod:`ml.data.sources.dialect`. A record needs

- as many fields as there are names;
- a user and an item that are not blank and hold no control character. White space around them is dropped, and so is the
  ``.0`` of a whole number that a tool wrote as a float; how often is counted and said;
- where there is a column of times, one as in :mod:`ml.data.sources.timestamps`. Without that column the order
  of the lines is the order of the interactions (``given_position``, over the rows that are kept).

It may have a rating, any finite number, with a point or a comma; empty and ``nan`` are no rating. It may say whether
the purchase was verified (``true``, ``t``, ``yes``, ``y``, ``1``, ``1.0`` and their opposites, in any case); what is
none of these counts as not said, and ``verified`` is named in ``invalid_fields``. A quoted field may hold line ends:
the record then spans several lines, and none of them is a row of its own. Where the quotes of such a record are not
balanced, its first line is a reject and the next line begins a record. The line of names may stand again further on,
as in files that were put together; it is no row.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ml.data.lines import LandingError
from ml.data.reading import LANDING_REASONS, Added, FileReading, Reject
from ml.data.sources.columns import like_a_time
from ml.data.sources.dialect import NONE, Dialect, find_dialect
from ml.data.sources.table_options import TableOptions
from ml.data.sources.time_format import TimeFormat, date_milliseconds
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
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:[,.'\u2019 ][0-9]{3})+")
_WHOLE_AS_FLOAT = re.compile(r"[0-9]+\.0+")
_FLAGS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
    **dict.fromkeys(("", "nan"), None),
}
NO_TIME = "no column is known as the time"
# what is wrong with one line makes only so many lines slow
_LINES_TOGETHER = 128


class TableLines:
    """Reads the records of one such file, its line of names first.

    Args:
        path: the file; its first lines are looked at when the first line is read.
        options: what the source says of it.
    """

    reasons = REASONS
    constants = MappingProxyType({"given_split": None})

    def __init__(self, path: Path, options: TableOptions | None = None) -> None:
        self._path = path
        self._options = options or TableOptions()
        self._timestamps = Timestamps(TimeFormat(self._options.time_format) if self._options.time_format else None)
        self._in_front: int | None = None
        self._rows = 0
        self._trimmed = self._floats = self._repeated_names = 0

    @cached_property
    def _dialect(self) -> Dialect:
        dialect = find_dialect(self._path, self._options)
        if "timestamp" in dialect.places:
            place = dialect.places["timestamp"]
            problem = self._timestamps.learn([fields[place] for fields in dialect.sample if len(fields) > place])
            if problem:
                raise LandingError(f"{self._path}: the column {dialect.names[place]!r}, taken as the time, {problem}")
        return dialect

    def reading(self) -> FileReading:
        """How the file was understood."""
        dialect = self._dialect
        columns = {role: dialect.names[place] for role, place in dialect.places.items()}
        unused = tuple(
            name or "(no name)" for place, name in enumerate(dialect.names) if place not in dialect.places.values()
        )
        return FileReading(
            columns=columns,
            unused_columns=unused,
            separator=dialect.described,
            time_unit=self._timestamps.unit if "timestamp" in columns else None,
            order="time" if "timestamp" in columns else "position",
            warnings=tuple(
                table_warnings(
                    candidates=None if {"timestamp"} & {*columns, *self._options.absent} else self._like_times(unused),
                    trimmed=self._trimmed,
                    floats=self._floats,
                    repeated_names=self._repeated_names,
                )
            ),
        )

    def _like_times(self, unused: tuple[str, ...]) -> list[str]:
        """Unused columns whose name or values look like a time."""
        found = like_a_time(unused)
        for place, name in enumerate(self._dialect.names):
            values = [fields[place].strip() for fields in self._dialect.sample[:100] if len(fields) > place]
            if name in unused and name not in found and values and all(_is_time(value) for value in values):
                found.append(name)
        return found

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.reading.LineReader.add`.

        Raises:
            LandingError: the first line does not name the columns.
        """
        return self._add(lines, columns, is_end=True)[0]

    def add_whole_records(self, lines: list[bytes], columns: dict[str, list]) -> tuple[Added, int]:
        """See :class:`ml.data.reading.LineReader`."""
        return self._add(lines, columns, is_end=False)

    def _add(self, lines: list[bytes], columns: dict[str, list], is_end: bool) -> tuple[Added, int]:
        if self._in_front is None:
            self._in_front = self._dialect.first_lines
        start = min(self._in_front, len(lines))
        self._in_front -= start
        skipped = list(range(start))
        rejected: list[tuple[int, Reject]] = []
        spans: dict[int, int] = {}
        if start == len(lines) or self._add_sound(lines[start:], columns):
            return Added(rejected, skipped), len(lines)
        used = start
        while used < len(lines):
            together = lines[used : used + _LINES_TOGETHER]
            if self._add_sound(together, columns):
                used += len(together)
                continue
            until = min(used + _LINES_TOGETHER, len(lines))
            while used < until:
                length = self._dialect.quoting.record_length(lines, used)
                if length is None and not is_end:
                    return Added(rejected, skipped, spans=spans), used
                used += self._add_record(lines, used, length, columns, rejected, skipped, spans)
        return Added(rejected, skipped, spans=spans), len(lines)

    def _add_record(
        self,
        lines: list[bytes],
        index: int,
        length: int | None,
        columns: dict[str, list],
        rejected: list[tuple[int, Reject]],
        skipped: list[int],
        spans: dict[int, int],
    ) -> int:
        """Read the record of ``length`` lines at an index; the lines that were used."""
        if length is None:
            rejected.append((index, Reject("malformed quotes", "a quote that opens in this line does not end")))
            return 1
        fields = self._read_fields(b"\n".join(lines[index : index + length]))
        if isinstance(fields, Reject) and fields.reason == "malformed quotes" and length > 1:
            rejected.append((index, fields))
            return 1
        skipped.extend(range(index + 1, index + length))
        if length > 1:
            spans[index] = length
        if not isinstance(fields, Reject) and [field.strip() for field in fields] == list(self._dialect.names):
            self._repeated_names += 1
            skipped.append(index)
            spans.pop(index, None)
            return length
        problem = fields if isinstance(fields, Reject) else self._add_fields(fields, columns)
        if problem is not None:
            rejected.append((index, problem))
        return length

    def _add_sound(self, lines: list[bytes], columns: dict[str, list]) -> bool:
        """All of the lines, if nothing is wrong with any; otherwise none, and nothing is changed."""
        fields = self._fields_by_column(lines)
        if fields is None:
            return False
        places = self._dialect.places
        found = [self._sound_identities(fields[places[role]]) for role in ("user", "item")]
        identities = [one for one in found if one is not None]
        if len(identities) < len(found):
            return False
        if not {"timestamp", "rating"} & set(places) and self._dialect.names[places["user"]] in identities[0][0]:
            return False  # maybe the line of names again
        count = len(lines)
        ratings: Sequence[float | None] | None = [None] * count
        verified: Sequence[bool | None] | None = [None] * count
        if "rating" in places:
            ratings = _sound_ratings(fields[places["rating"]])
        if "verified" in places:
            verified = _sound_flags(fields[places["verified"]])
        if ratings is None or verified is None:
            return False
        if "timestamp" in places:
            milliseconds = self._timestamps.read_all(fields[places["timestamp"]])
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
        for name, (values, trimmed, floats) in zip(("user_id", "item_id"), identities, strict=True):
            columns[name].extend(values)
            self._trimmed += trimmed
            self._floats += floats
        columns["rating"].extend(ratings)
        columns["verified"].extend(verified)
        columns["invalid_fields"].extend([()] * count)
        self._rows += count
        return True

    def _sound_identities(self, values: Sequence[str]) -> tuple[Sequence[str], int, int] | None:
        """Users or items as they are kept, how many were trimmed, how many were floats; ``None`` if one is bad."""
        joined = "".join(values)
        stripped, trimmed, floats = values, 0, 0
        if " " in joined or not joined.isascii() or CONTROL_CHARACTER.search(joined):
            stripped = list(map(str.strip, values))
            trimmed = sum(len(value) != len(kept) for value, kept in zip(values, stripped, strict=True))
            joined = "".join(stripped)
            if CONTROL_CHARACTER.search(joined):
                return None
        if "" in stripped:
            return None
        if ".0" in joined:
            kept = list(map(whole_number, stripped))
            floats = sum(len(one) != len(other) for one, other in zip(stripped, kept, strict=True))
            stripped = kept
        return stripped, trimmed, floats

    def _fields_by_column(self, lines: list[bytes]) -> list[Sequence[str]] | None:
        try:
            text = b"\n".join(lines).decode("utf-8")
        except UnicodeDecodeError:
            return None
        quoting, count = self._dialect.quoting, len(self._dialect.names)
        if quoting.style != NONE and '"' in text:
            try:
                rows: list[list[str]] = list(quoting.reader(text.split("\n")))
            except csv.Error:
                return None
            if len(rows) != len(lines) or set(map(len, rows)) != {count}:
                return None
            return list(zip(*rows, strict=True))
        separator = quoting.separator.encode()
        if {line.count(separator) for line in lines} != {count - 1}:
            return None
        flat = text.replace("\n", quoting.separator).split(quoting.separator)
        return [flat[place::count] for place in range(count)]

    def _read_fields(self, record: bytes) -> list[str] | Reject:
        if not record.strip():
            return Reject("blank line", f"{len(record)} bytes of white space" if record else "")
        try:
            text = record.decode("utf-8")
        except UnicodeDecodeError as invalid:
            return Reject("invalid UTF-8", f"byte {invalid.start}: {invalid.reason}; save the file as UTF-8")
        try:
            fields = self._dialect.quoting.fields(text)
        except csv.Error as error:
            return Reject("malformed quotes", str(error))
        if len(fields) != len(self._dialect.names):
            return Reject("wrong number of fields", f"{len(fields)} instead of {len(self._dialect.names)}")
        return fields

    def _add_fields(self, fields: list[str], columns: dict[str, list]) -> Reject | None:
        texts = {role: fields[place] for role, place in self._dialect.places.items()}
        identities = {}
        for role in ("user", "item"):
            identities[role] = whole_number(texts[role].strip())
            if problem := identity_problem(role, identities[role]):
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
        for role, kept in identities.items():
            stripped = texts[role].strip()
            self._trimmed += stripped != texts[role]
            self._floats += kept != stripped
        columns["user_id"].append(identities["user"])
        columns["item_id"].append(identities["item"])
        columns["rating"].append(rating)
        columns["timestamp"].append(seconds)
        columns["millisecond"].append(fraction)
        columns["verified"].append(verified)
        columns["given_position"].append(position)
        columns["invalid_fields"].append(() if is_valid else ("verified",))
        return None


def whole_number(identity: str) -> str:
    """The same identity, without the ``.0`` of a whole number that a tool wrote as a float."""
    return identity.partition(".")[0] if _WHOLE_AS_FLOAT.fullmatch(identity) else identity


def table_warnings(candidates: Sequence[str] | None, trimmed: int, floats: int, repeated_names: int = 0) -> list[str]:
    """What to say of how a table was read.

    Args:
        candidates: columns that look like a time where no column is known as the time; ``None`` where one is, or
            where the source says that there is none.
        trimmed: number of users and items with white space around them.
        floats: number of users and items that are whole numbers written as floats.
        repeated_names: how often the line of names stands again in the file.
    """
    warnings = []
    if candidates is not None:
        remedy = "if that is right, put timestamp = false under [columns] of source.toml"
        if candidates:
            named = " or ".join(repr(name) for name in candidates)
            remedy = f'{named} looks like one: put timestamp = "{candidates[0]}" under [columns] of source.toml'
        warnings.append(f"{NO_TIME}, so the order of the lines counts; {remedy}")
    if trimmed:
        warnings.append(f"white space around {trimmed:,} users or items was dropped")
    if floats:
        warnings.append(f"{floats:,} users or items are whole numbers written as floats; their .0 was dropped")
    if repeated_names:
        warnings.append(f"the line of names stands {repeated_names:,} more times in the file; it is no row")
    return warnings


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
    if _DECIMAL_COMMA.fullmatch(text):
        if _THOUSANDS.fullmatch(text):
            return Reject("rating not a number", f"{shown(text)}: a decimal comma or thousands? write it with a point")
        text = text.replace(",", ".")
    rating = float(text) if _NUMBER.fullmatch(text) else math.inf
    return rating if math.isfinite(rating) else Reject("rating not a number", shown(text))


def _is_time(text: str) -> bool:
    """Whether a value could be a time, and hardly anything else."""
    if text.isdigit():
        return len(text) in (9, 10, 13, 16, 19)
    try:
        date_milliseconds(text)
    except (ValueError, OverflowError):
        return False
    return True


def read_flag(text: str) -> tuple[bool | None, bool]:
    """What a text says of a purchase being verified, and whether it is one that can be understood."""
    text = text.strip().lower()
    return _FLAGS.get(text), text in _FLAGS


def _sound_ratings(texts: Sequence[str]) -> list[float | None] | None:
    joined = "".join(texts)
    # there are few ratings, however many rows
    if "," in joined:
        read = {text: read_rating(text) for text in set(texts)}
    elif _PLAIN_NUMBERS.fullmatch(joined):
        try:
            read = {text: float(text) if text else None for text in set(texts)}
        except ValueError:
            return None
    else:
        return None
    if any(isinstance(rating, Reject) or not math.isfinite(rating or 0) for rating in read.values()):
        return None
    ratings: dict[str, Any] = read
    return [ratings[text] for text in texts]


def _sound_flags(texts: Sequence[str]) -> list[bool | None] | None:
    understood = {text: read_flag(text) for text in set(texts)}
    if not all(is_valid for _, is_valid in understood.values()):
        return None
    return [understood[text][0] for text in texts]
