"""Interactions as lines of a user and one or more items, separated by spaces or tabs, in their order.

Both ways in which sequences are published are this: ``user item item ...`` with a line a user, and ``user item`` with
a line an interaction. There are no times; ``given_position`` counts on over the rows of the file. A line that names a
user and no item is a reject.

Files that only look like this are refused by their first lines (:mod:`ml.data.sources.sequence.shape`). A line that
names the columns is left out, and so are words such as 0 or <pad> that fill up lines to the same length.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import LANDING_REASONS, Added, FileReading, Reject
from ml.data.sources.sequence.doubts import fillers_at_the_ends
from ml.data.sources.sequence.shape import SAMPLE_LINES, Shape, refuse_tabs, shape_of

REASONS = (*LANDING_REASONS, "blank line", "invalid UTF-8", "control characters", "no item")

_SEPARATORS = re.compile("[ \t]+")
_CONTROL_CHARACTER = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class SequenceLines:
    """Reads the lines of one such file."""

    reasons = REASONS
    constants = MappingProxyType(
        {"rating": None, "timestamp": None, "millisecond": 0, "verified": None, "given_split": None}
    )

    def __init__(self, path: Path) -> None:
        """The file, for errors."""
        self._path = path
        self._shape: Shape | None = None
        self._rows = 0
        self._zeros = 0

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.landing.schema.LineReader.add`.

        Raises:
            LandingError: the first lines show that the file holds no sequences, or zeros fill up some lines and are an
                item on another.
        """
        if self._shape is None:
            refuse_tabs(self._path, lines[:SAMPLE_LINES])
            sample = [words for words in map(read_words, lines[:SAMPLE_LINES]) if not isinstance(words, Reject)]
            self._shape = shape_of(self._path, sample)
        header, is_padded = self._shape.header, self._shape.padding is not None
        rejected: list[tuple[int, Reject]] = []
        skipped: list[int] = []
        counts = np.zeros(len(lines), dtype=np.int64)
        users, items = columns["user_id"], columns["item_id"]
        for index, line in enumerate(lines):
            words = read_words(line)
            if isinstance(words, Reject):
                rejected.append((index, words))
                continue
            if header is not None and tuple(words) == header:
                skipped.append(index)
                continue
            if is_padded:
                words = self._without_padding(words, self._shape)
            if len(words) < 2:
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
        return Added(rejected, skipped, rows_per_line=counts)

    def reading(self) -> FileReading:
        """See :class:`ml.data.landing.schema.LineReader`."""
        shape = self._shape or Shape(pairs=False)
        warnings = list(shape.warnings)
        if self._zeros:
            warnings.append(
                f"item {shape.filler} fills up lines at their {shape.padding}, and is left out {self._zeros:,} times; "
                "where it is an item, give it another identity"
            )
        items = "the second word of a line" if shape.pairs else "all further words of a line"
        return FileReading(
            {"user": "the first word of a line", "item": items},
            separator="blanks",
            order="position",
            warnings=tuple(warnings),
        )

    def _without_padding(self, words: list[str], shape: Shape) -> list[str]:
        items, filler = words[1:], shape.filler
        start, end = fillers_at_the_ends(items, filler)
        inside = items[start : len(items) - end]
        if filler in inside or (end if shape.padding == "start" else start and inside):
            raise LandingError(
                f"{self._path}: item {filler} stands among the items of user {words[0]!r}, and the first lines are "
                f"filled up with it at their {shape.padding}; give the item another identity, or leave out "
                "what fills up the lines"
            )
        self._zeros += start + end
        return [words[0], *inside]


def read_words(line: bytes) -> list[str] | Reject:
    """The words of a line, at least one, or why there are none."""
    try:
        # a byte order mark where files were put together
        text = line.decode("utf-8").lstrip("\ufeff")
    except UnicodeDecodeError as invalid:
        return Reject("invalid UTF-8", f"byte {invalid.start}: {invalid.reason}; save the file as UTF-8")
    # printable ASCII splits the same either way, and sooner without a pattern
    words = text.split() if text.isascii() else [word for word in _SEPARATORS.split(text) if word.strip()]
    if not words:
        return Reject("blank line", f"{len(line)} bytes of white space" if line else "")
    if not text.isprintable() and (control := _CONTROL_CHARACTER.search(text)):
        return Reject("control characters", f"{control.group()!r} at character {control.start()}")
    return words
