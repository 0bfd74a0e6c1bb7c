"""Lines that hold a Python value as text (``{'asin': 'B1', 'price': 1.5}``), read without evaluating anything.

Understood is what ``repr`` writes of a value made of dictionaries, lists, strings, numbers, ``True``, ``False`` and
``None``; it is rewritten as JSON, and read as such. Tuples, sets, bytes, f-strings, joined strings, calls and operators
are not understood. A line costs time and memory in proportion to its length, whatever it holds.
"""

from __future__ import annotations

import re

import orjson

LONGEST_LITERAL_BYTES = 4 << 20

_CONSTANTS = {"True": "true", "False": "false", "None": "null"}
# Runs of strings that JSON would write with other quotes and no other difference, then any string, then words (the
# exponent of a number is none), then what cannot stand outside a string.
_TOKEN = re.compile(
    r"""
    ((?:'[^'"\\]*+'[\s,:\[\]{}0-9.]*+)++)
    | '[^'\\]*+(?:\\.[^'\\]*+)*+' | "[^"\\]*+(?:\\.[^"\\]*+)*+"
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
        ValueError: it holds something else, is longer than ``LONGEST_LITERAL_BYTES`` or nested deeper than JSON
            may be (1024 levels).
    """
    if len(line) > LONGEST_LITERAL_BYTES:
        raise ValueError(f"{len(line):,} bytes, more than the {LONGEST_LITERAL_BYTES:,} that are looked at")
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        text = line.decode("utf-8")
    # most lines hold no string with a quote in it: then every quote is the start or the end of one
    if '"' not in text and "\\" not in text:
        try:
            return orjson.loads(text.replace("'", '"'))
        except orjson.JSONDecodeError:
            pass
    return orjson.loads(_TOKEN.sub(_as_json, text))


def _as_json(token: re.Match[str]) -> str:
    text = token.group()
    if token.group(1) is not None:
        return text.replace("'", '"')
    if len(text) > 1 and text[0] in "'\"":
        value = text[1:-1]
        if "\\" in value:
            value = _ESCAPE.sub(_unescaped, value)
        try:
            return orjson.dumps(value).decode()
        except orjson.JSONEncodeError as error:
            raise ValueError(f"a string that is no text, at character {token.start()}: {error}") from error
    if text in _CONSTANTS:
        return _CONSTANTS[text]
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
