"""Records as lines of JSON: a file that is written at once, and one that grows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol


class Record(Protocol):
    """What a line holds."""

    def as_json(self) -> dict[str, Any]:
        """Its values by name."""


def line_of(record: Record) -> str:
    """The line of a record, with its end."""
    return json.dumps(record.as_json()) + "\n"


def write_lines(records: Iterable[Record], file: Path) -> None:
    """One line a record."""
    file.write_text("".join(map(line_of, records)), encoding="utf-8")


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The values of each line."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


class GrowingFile:
    """A file that holds each line as soon as it is added.

    Args:
        path: replaced; its folder is made where there is none. ``None`` writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8")

    def add(self, record: Record) -> None:
        """One more line."""
        if self._file is not None:
            self._file.write(line_of(record))
            self._file.flush()

    def close(self) -> None:
        """No more lines."""
        if self._file is not None:
            self._file.close()
