"""Interactions that are given as texts by role, read into the columns of a landed table.

What separates the texts, and which of them is the user, the item, the time, the rating and the verification, is known
to whoever hands them over (:mod:`ml.data.sources.table`, :mod:`ml.data.sources.json_lines`). A row needs a user and an
item that are not blank and hold no control character. White space around them is dropped, and so is the ``.0`` of a
whole number that a tool wrote as a float. Where there is a time, it is read as :mod:`ml.data.sources.timestamps` says;
without one the order of the rows is the order of the interactions.

A rating is any finite number, with a point or a comma; an empty text and words such as ``nan`` and ``NULL`` are no
rating. ``verified`` is ``true``, ``t``, ``yes``, ``y``, ``1``, ``1.0`` or one of their opposites, in any case; anything
else counts as not said, and ``verified`` is named in ``invalid_fields``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ml.data.landing.schema import Reject
from ml.data.sources.columns import like_a_time
from ml.data.sources.identities import CONTROL_CHARACTER, Identities, identity_problem, whole_number
from ml.data.sources.table_options import TableOptions
from ml.data.sources.time_format import TimeFormat, date_milliseconds
from ml.data.sources.timestamps import MISSING, TIMESTAMP_REASONS, Timestamps, shown

ROW_REASONS = (
    "user missing",
    "user with control characters",
    "item missing",
    "item with control characters",
    "rating not a number",
    *TIMESTAMP_REASONS,
)
NO_TIME = "no column is known as the time"

_PLAIN_NUMBERS = re.compile(r"[0-9.eE+-]*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:[,.'\u2019 ][0-9]{3})+")
_FLAGS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
    **dict.fromkeys(("", "nan"), None),
}


class Rows:
    """Adds the rows of one file, in order.

    Args:
        options: what the source says of the file.

    Attributes:
        timestamps: how the times of the file are read.
        count: number of rows that were added.
    """

    def __init__(self, options: TableOptions) -> None:
        self.timestamps = Timestamps(TimeFormat(options.time_format) if options.time_format else None)
        self._is_timeless = "timestamp" in options.absent
        self._unused = options.unused
        self._identities = Identities()
        self.count = 0

    def add_all(self, texts: Mapping[str, Sequence[str]], columns: dict[str, list]) -> bool:
        """Add all rows, if nothing is wrong with any; otherwise none, and nothing is changed.

        Args:
            texts: of each role that the file has, those of all rows.
            columns: of the landed table, which grow.
        """
        found = [_sound_identities(texts[role]) for role in ("user", "item")]
        identities = [one for one in found if one is not None]
        if len(identities) < len(found):
            return False
        count = len(texts["user"])
        ratings: Sequence[float | None] | None = [None] * count
        verified: Sequence[bool | None] | None = [None] * count
        if "rating" in texts:
            ratings = _sound_ratings(texts["rating"])
        if "verified" in texts:
            verified = _sound_flags(texts["verified"])
        if ratings is None or verified is None:
            return False
        if "timestamp" in texts:
            milliseconds = self.timestamps.read_all(texts["timestamp"])
            if milliseconds is None:
                return False
            seconds, fractions = np.divmod(milliseconds, 1000)
            columns["timestamp"].extend(seconds.tolist())
            columns["millisecond"].extend(fractions.tolist())
            columns["given_position"].extend([0] * count)
        else:
            columns["timestamp"].extend([None] * count)
            columns["millisecond"].extend([0] * count)
            columns["given_position"].extend(range(self.count + 1, self.count + count + 1))
        for name, (values, joined, trimmed, floats) in zip(("user_id", "item_id"), identities, strict=True):
            columns[name].extend(values)
            self._identities.trimmed += trimmed
            self._identities.floats += floats
            self._identities.note(values, joined)
        columns["rating"].extend(ratings)
        columns["verified"].extend(verified)
        columns["invalid_fields"].extend([()] * count)
        self.count += count
        return True

    def add(self, texts: Mapping[str, str], columns: dict[str, list]) -> Reject | None:
        """Add one row, or say why it is rejected."""
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
            milliseconds = self.timestamps.read(texts["timestamp"])
            if isinstance(milliseconds, Reject):
                return milliseconds
            seconds, fraction = divmod(milliseconds, 1000)
        else:
            position = self.count + 1
        self.count += 1
        for role, kept in identities.items():
            stripped = texts[role].strip()
            self._identities.trimmed += stripped != texts[role]
            self._identities.floats += kept != stripped
            self._identities.note([kept], kept)
        columns["user_id"].append(identities["user"])
        columns["item_id"].append(identities["item"])
        columns["rating"].append(rating)
        columns["timestamp"].append(seconds)
        columns["millisecond"].append(fraction)
        columns["verified"].append(verified)
        columns["given_position"].append(position)
        columns["invalid_fields"].append(() if is_valid else ("verified",))
        return None

    def warnings(self, roles: Collection[str], candidates: Sequence[str]) -> list[str]:
        """What to say of how the file was read.

        Args:
            roles: those that the file has a column for.
            candidates: columns that look like a time, where none is known as it.
        """
        candidates = [name for name in candidates if name not in self._unused]
        time = [] if self._is_timeless or "timestamp" in roles else [no_time(candidates)]
        return [*time, *self._identities.warnings()]


def no_time(candidates: Sequence[str]) -> str:
    """What to say of a file in which no column is known as the time."""
    remedy = "if that is right, put timestamp = false under [columns] of source.toml"
    if candidates:
        named = " or ".join(repr(name) for name in candidates)
        remedy = f'{named} looks like one: put timestamp = "{candidates[0]}" under [columns] of source.toml'
    return f"{NO_TIME}, so the order of the lines counts; {remedy}"


def like_times(names: Sequence[str], values: Mapping[str, Sequence[str]]) -> list[str]:
    """Those of some columns whose name or first values look like a time.

    Args:
        names: of the columns.
        values: the first values of each; a column without any looks like a time by its name alone.
    """
    found = like_a_time(names)
    for name in names:
        texts = [text.strip() for text in values.get(name, ())]
        if name not in found and texts and all(map(_is_time, texts)):
            found.append(name)
    return found


def read_rating(text: str) -> float | Reject | None:
    """A finite number, ``None`` for no rating, or why it is neither."""
    text = text.strip()
    if text.lower() in MISSING:
        return None
    if _DECIMAL_COMMA.fullmatch(text):
        if _THOUSANDS.fullmatch(text):
            return Reject("rating not a number", f"{shown(text)}: a decimal comma or thousands? write it with a point")
        text = text.replace(",", ".")
    rating = float(text) if _NUMBER.fullmatch(text) else math.inf
    return rating if math.isfinite(rating) else Reject("rating not a number", shown(text))


def read_flag(text: str) -> tuple[bool | None, bool]:
    """What a text says of a purchase being verified, and whether it is one that can be understood."""
    text = text.strip().lower()
    return _FLAGS.get(text), text in _FLAGS


def _is_time(text: str) -> bool:
    """Whether a value could be a time, and hardly anything else."""
    if text.isdigit():
        return len(text) in (9, 10, 13, 16, 19)
    try:
        date_milliseconds(text)
    except (ValueError, OverflowError):
        return False
    return True


def _sound_identities(values: Sequence[str]) -> tuple[Sequence[str], str, int, int] | None:
    """Users or items as they are kept, the same end to end, how many were trimmed, and how many were floats.

    ``None`` if one is bad.
    """
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
    return stripped, joined, trimmed, floats


def _sound_ratings(texts: Sequence[str]) -> list[float | None] | None:
    joined = "".join(texts)
    # there are few ratings, however many rows
    if "," in joined or not _PLAIN_NUMBERS.fullmatch(joined):
        read = {text: read_rating(text) for text in set(texts)}
    else:
        try:
            read = {text: float(text) if text else None for text in set(texts)}
        except ValueError:
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
