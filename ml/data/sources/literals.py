"""Lines that hold a Python value as text (``{'asin': 'B1', 'price': 1.5}``), read without evaluating anything.

What ``repr`` writes of a value made of dictionaries, lists, strings (``u'...'`` of Python 2 too), numbers, ``nan``,
``inf``, ``True``, ``False`` and ``None`` is understood: it is rewritten as JSON, and read by
:mod:`ml.data.landing.json_text`. Tuples, sets, bytes, f-strings, joined strings, calls and operators are not. A line
costs time and memory in proportion to its length, whatever it holds.
"""

from __future__ import annotations

import json
import re

import orjson

from ml.data.landing.json_text import (
    LITERAL_STARTS,
    NestedTooDeeply,
    is_nested_deeply,
    read_json,
    type_name,
    why_unreadable,
)
from ml.data.landing.schema import Reject
from ml.data.landing.text_stream import BYTE_ORDER_MARK

LONGEST_LITERAL_BYTES = 4 << 20

_WORDS = {
    **{"True": "true", "False": "false", "None": "null"},
    **{"nan": "NaN", "inf": "Infinity"},
    # of JSON that orjson does not read
    **{word: word for word in ("true", "false", "null", "NaN", "Infinity")},
}
# Runs of strings that JSON would write with other quotes and no other difference, then any string, then words (the
# exponent of a number is none; nor is what Python 2 writes in front of a string), then what cannot stand outside one.
_TOKEN = re.compile(
    r"""
    ((?:'[^'"\\]*+'[\s,:\[\]{}0-9.]*+)++)
    | '[^'\\]*+(?:\\.[^'\\]*+)*+' | "[^"\\]*+(?:\\.[^"\\]*+)*+"
    | ((?<!\w)[uU](?=['"]))
    | (?<![0-9.])[^\W\d]\w*
    | ['"\\]
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPED = {
    **dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True)),
    "'": "'",
    '"': '"',
    "\\": "\\",
    "\n": "",
}


def read_literal(line: bytes) -> object:
    """The value on a line, of JSON as well as of Python.

    Raises:
        UnicodeDecodeError: the line is not UTF-8.
        NestedTooDeeply: it has too many levels.
        ValueError: it holds something else, or is longer than ``LONGEST_LITERAL_BYTES``.
    """
    if len(line) > LONGEST_LITERAL_BYTES:
        raise ValueError(f"{len(line):,} bytes, more than the {LONGEST_LITERAL_BYTES:,} that are looked at")
    if line.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b'{"'):
        # JSON, or Python's way to write a key with a quote in it
        try:
            return read_json(line)
        except NestedTooDeeply:
            raise
        except ValueError:
            pass
    text = line.decode("utf-8-sig")
    # most lines hold no string with a quote in it: then every quote is the start or the end of one
    if '"' not in text and "\\" not in text:
        try:
            value = orjson.loads(text.replace("'", '"'))
        except orjson.JSONDecodeError:
            pass
        else:
            if is_nested_deeply(text, value):
                raise NestedTooDeeply
            return value
    return read_json(_TOKEN.sub(_as_json, text))


def _as_json(token: re.Match[str]) -> str:
    text = token.group()
    if token.group(1) is not None:
        return text.replace("'", '"')
    if token.group(2) is not None:
        return ""
    if len(text) > 1 and text[0] in "'\"":
        value = text[1:-1]
        if "\\" in value:
            value = _ESCAPE.sub(_unescaped, value)
        # with escapes, since halves of surrogate pairs cannot be written otherwise; two that belong together make one
        # character, as where Python 2 wrote them
        return json.dumps(value)
    if text in _WORDS:
        return _WORDS[text]
    what = "a quote or backslash outside a string" if len(text) == 1 and not text.isalpha() else "a name"
    raise ValueError(f"{what} at character {token.start()}: {text[:40]!r}")


def _unescaped(escape: re.Match[str]) -> str:
    octal, *hexadecimal, other = escape.groups()
    if octal:
        return chr(int(octal, 8))
    for digits in hexadecimal:
        if digits:
            return chr(int(digits, 16))
    if other not in _ESCAPED:
        # as Python reads it, a backslash in front of any other character stands for itself
        if other in "NxuU":
            raise ValueError(f"an escape that is not understood: {escape.group()!r}")
        return escape.group()
    return _ESCAPED[other]


def read_object(line: bytes) -> dict | Reject:
    """The object on a line, of JSON or as Python writes it, or why there is none."""
    try:
        row = read_json(line)
    except ValueError as error:
        if not line.lstrip().startswith(LITERAL_STARTS):
            return why_unreadable(line, error, "malformed JSON")
        # Python wrote the line without json
        try:
            row = read_literal(line)
        except ValueError as error:
            return why_unreadable(line, error, "malformed JSON")
    if not isinstance(row, dict):
        return Reject("not an object", f"a JSON {type_name(row)}")
    return row
