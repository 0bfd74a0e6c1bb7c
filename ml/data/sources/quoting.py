"""Separators and quoting of records."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ml.data.landing.file_lines import LONGEST_LINE_BYTES

DOUBLED, BACKSLASH, NONE = "doubled", "backslash", "none"

# a field may hold the text of a whole page
csv.field_size_limit(LONGEST_LINE_BYTES)


@dataclass(frozen=True)
class Quoting:
    """The separator and quoting of a file.

    Attributes:
        separator: between two fields.
        style: ``doubled`` (a quote in a quoted field is written twice), ``backslash`` (a backslash stands in front of
            it), or ``none`` (quotes are part of the text).
    """

    separator: str
    style: str

    def fields(self, text: str) -> list[str]:
        """The fields of one record, which may hold line ends in quotes.

        Raises:
            csv.Error: its quotes are not balanced.
        """
        if self.style == NONE or '"' not in text:
            return text.split(self.separator)
        (fields,) = self.reader([text])
        return fields

    def reader(self, lines: list[str]) -> Iterator[list[str]]:
        """A strict reader of the records in some lines, for a style other than ``none``."""
        escape: dict[str, Any] = {"escapechar": "\\", "doublequote": False} if self.style == BACKSLASH else {}
        spaces = self.separator != " "
        return csv.reader(lines, delimiter=self.separator, strict=True, skipinitialspace=spaces, **escape)

    def record_length(self, lines: list[bytes], index: int) -> int | None:
        """Number of lines of the record that begins at an index; ``None`` where a quote in it does not end."""
        if self.style == NONE or b'"' not in lines[index]:
            return 1
        count = 1
        while True:
            text = b"\n".join(lines[index : index + count])
            length = self._first_record(text)
            if length is not None:
                return length
            if index + count >= len(lines):
                return None
            count *= 8

    def _first_record(self, text: bytes) -> int | None:
        for token in _tokens(self.separator, self.style).finditer(text):
            if token.group() == b"\n":
                return text.count(b"\n", 0, token.start()) + 1
            if not token.group(1):
                return None
        return text.count(b"\n") + 1


_PATTERNS: dict[tuple[str, str], re.Pattern[bytes]] = {}


def _tokens(separator: str, style: str) -> re.Pattern[bytes]:
    """Matches a quoted field, with an empty first group where it does not end, or a line end outside of one."""
    known = _PATTERNS.get((separator, style))
    if known is None:
        inside = rb'(?:[^"]++|"")*+' if style == DOUBLED else rb'(?:[^"\\]++|\\.)*+'
        spaces = b"" if separator == " " else b" *"
        start = rb"(?:\A|" + re.escape(separator.encode()) + rb")" + spaces
        known = _PATTERNS[separator, style] = re.compile(start + b'"' + inside + rb'("?)|\n', re.DOTALL)
    return known
