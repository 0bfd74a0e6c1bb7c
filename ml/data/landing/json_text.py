"""JSON lines as they are found in dumps: strict where a value is looked at, lenient elsewhere.

Python's ``json`` writes what RFC 8259 forbids (NaN, Infinity, half a surrogate pair) and numbers of any size. A line is
not lost for such a value in a field that nobody reads: it is read as ``json`` reads it, and whoever looks at a field
checks what is in it (:func:`is_text`, and ranges of numbers).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ml.data.landing.schema import FileReading, Reject

# A line nested this deep is a reject; json, msgspec and orjson give up at about as much, each at another level.
DEEPEST = 1000
# an array takes two brackets, and an object a name and a colon as well
LEAST_DEEP_BYTES = 2 * DEEPEST
# how an object of Python begins that is none of JSON
LITERAL_STARTS = (b"{'", b"{u'", b'{u"')
_BYTES_PER_OBJECT = len('{"":}')
_MOST_DIGITS = 4000


class NestedTooDeeply(ValueError):
    """JSON of :data:`DEEPEST` levels or more."""

    def __init__(self) -> None:
        super().__init__(f"{DEEPEST:,} levels or more")


def read_json(text: str | bytes) -> object:
    """The value that a text holds; of a key that stands twice in an object the last value counts.

    NaN, infinities and numbers beyond the range of a 64-bit float are floats that are not finite, and half of a
    surrogate pair is a character by itself.

    Raises:
        UnicodeDecodeError: bytes that are not UTF-8.
        NestedTooDeeply: it has too many levels.
        ValueError: it is no JSON.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as strict:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if text.startswith("\ufeff"):
            # where files with byte order marks were put together
            return read_json(text.lstrip("\ufeff"))
        if "depth limit" in str(strict):
            raise NestedTooDeeply from strict
        try:
            value = _read_leniently(text)
        except RecursionError:
            raise NestedTooDeeply from strict
        except ValueError:
            raise strict from None
    if is_nested_deeply(text, value):
        raise NestedTooDeeply
    return value


def may_be_nested_deeply(text: str | bytes) -> bool:
    """Whether a text is long enough, and holds enough brackets, to be nested too deeply; a quick test."""
    size = len(text)
    if size < LEAST_DEEP_BYTES:
        return False
    # to look for the second of them is quicker than to count, and a review mostly has none
    if isinstance(text, str):
        arrays = 1 if text.find("[", text.find("[") + 1) < 0 else text.count("[")
    else:
        arrays = 1 if text.find(b"[", text.find(b"[") + 1) < 0 else text.count(b"[")
    if arrays + (size - 2 * arrays) // _BYTES_PER_OBJECT < DEEPEST:
        return False
    return arrays + (text.count("{") if isinstance(text, str) else text.count(b"{")) >= DEEPEST


def is_nested_deeply(text: str | bytes, value: object) -> bool:
    """Whether the value that was read of a text has :data:`DEEPEST` levels or more."""
    if not may_be_nested_deeply(text):
        return False
    level = [value]
    for _ in range(DEEPEST - 1):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def why_unreadable(line: bytes, error: ValueError, malformed: str) -> Reject:
    """The reason that an error in reading a line stands for; ``malformed`` where it is of no other kind."""
    if not line.strip():
        return Reject("blank line", f"{len(line)} bytes of white space" if line else "")
    if isinstance(error, UnicodeDecodeError):
        return Reject("invalid UTF-8", f"byte {error.start}: {error.reason}; save the file as UTF-8")
    return Reject("nested too deeply" if isinstance(error, NestedTooDeeply) else malformed, str(error))


def fields_reading(
    fields: Mapping[str, str | Sequence[str]],
    keys: Sequence[str],
    time_unit: str | None = None,
    warnings: Sequence[str] = (),
) -> FileReading:
    """Describe how lines of JSON objects are interpreted.

    Args:
        fields: the key that is read for each role, or several, of which each counts where those in front are missing.
        keys: those of the first objects of the file, where they are known; then roles whose key is not among them are
            left out, and the other keys are not used.
        time_unit: what times are written in.
        warnings: what the user should look at.
    """
    columns: dict[str, str] = {}
    used: set[str] = set()
    for role, names in fields.items():
        names = (names,) if isinstance(names, str) else names
        used.update(names)
        found = [name for name in names if not keys or name in keys]
        if found:
            columns[role] = found[0]
    unused = tuple(key for key in keys if key not in used)
    return FileReading(columns, unused, time_unit=time_unit, warnings=tuple(warnings))


def identity_problem(row: dict, name: str) -> Reject | None:
    """Reason why the value of a key cannot be an id, or ``None``."""
    value = row.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return Reject(f"{name} missing", shown(row, name))
    if not is_text(value):
        return Reject(f"{name} not a string", shown(row, name))
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in value):
        return Reject(f"{name} with control characters", shown(row, name))
    return None


def is_text(value: object) -> bool:
    """Whether a value is a string without halves of surrogate pairs, which cannot be stored."""
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def is_finite_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def shown(row: dict, name: str, longest: int = 80) -> str:
    """The value as JSON, short enough for a table."""
    if name not in row:
        return "no such key"
    value = row[name]
    try:
        if isinstance(value, float) and not math.isfinite(value):
            text = json.dumps(value)
        else:
            text = orjson.dumps(value).decode()
    except TypeError:
        # what orjson reads may be nested deeper than what it writes
        text = ascii(value) if isinstance(value, str) else f"a JSON {type_name(value)}, nested deeply"
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def type_name(value: object) -> str:
    """The type of a value that is no object, in the words of JSON."""
    return {list: "array", dict: "object", str: "string", bool: "boolean", type(None): "null"}.get(
        type(value), "number"
    )


def _integer(digits: str) -> int | float:
    """As orjson reads it: a float beyond 64 bits. Python refuses to read an integer of very many digits at all."""
    if len(digits) > _MOST_DIGITS:
        return -math.inf if digits.startswith("-") else math.inf
    value = int(digits)
    return value if -(1 << 63) <= value < 1 << 64 else float(digits)


_read_leniently = json.JSONDecoder(parse_int=_integer).decode
