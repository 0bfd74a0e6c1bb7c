"""Interactions as lines of a user and one or more items, separated by spaces or tabs, in their order.

Both ways in which sequences are published are this: ``user item item ...`` with a line a user, and ``user item`` with
a line an interaction. There are no times; ``given_position`` counts on over the rows of the file. A line that names a
user and no item is a reject.
"""

from __future__ import annotations

import re
from types import MappingProxyType

import numpy as np

from ml.data.reading import LANDING_REASONS, Added, Reject

REASONS = (*LANDING_REASONS, "blank line", "invalid UTF-8", "control characters", "no item")

_SEPARATORS = re.compile("[ \t]+")
_CONTROL_CHARACTER = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class SequenceLines:
    """Reads the lines of one such file."""

    reasons = REASONS
    constants = MappingProxyType(
        {"rating": None, "timestamp": None, "millisecond": 0, "verified": None, "given_split": None}
    )

    def __init__(self) -> None:
        self._rows = 0

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.reading.LineReader.add`."""
        rejected: list[tuple[int, Reject]] = []
        counts = np.zeros(len(lines), dtype=np.int64)
        users, items = columns["user_id"], columns["item_id"]
        for index, line in enumerate(lines):
            words = read_words(line)
            if isinstance(words, Reject):
                rejected.append((index, words))
            elif len(words) < 2:
                rejected.append((index, Reject("no item", "the line holds one word")))
            else:
                count = len(words) - 1
                counts[index] = count
                users.extend([words[0]] * count)
                items.extend(words[1:])
        rows = int(counts.sum())
        columns["given_position"].extend(range(self._rows + 1, self._rows + rows + 1))
        columns["invalid_fields"].extend([()] * rows)
        self._rows += rows
        return Added(rejected, rows_per_line=counts)


def read_words(line: bytes) -> list[str] | Reject:
    """The words of a line, at least one, or why there are none."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as invalid:
        return Reject("invalid UTF-8", f"byte {invalid.start}: {invalid.reason}")
    # printable ASCII splits the same either way, and sooner without a pattern
    words = text.split() if text.isascii() else [word for word in _SEPARATORS.split(text) if word.strip()]
    if not words:
        return Reject("blank line", f"{len(line)} bytes of white space" if line else "")
    if not text.isprintable() and (control := _CONTROL_CHARACTER.search(text)):
        return Reject("control characters", f"{control.group()!r} at character {control.start()}")
    return words
