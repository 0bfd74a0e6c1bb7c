"""The columns of a landed row, and the interface of the readers that fill them.

A layout (a release of the Amazon dumps, a table of a user's own, a sequence file) is known to the landing step as
a :class:`LineReader`; what it cannot keep it hands back with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

# 2100-01-01 00:00:00 UTC
END_OF_TIME = 4_102_444_800

# Where a landed row comes from, in front of its own columns. `line_number` counts from 1; `line_digest` is the
# xxh3_64 of the line without its line ending.
ORIGIN = [("source_file", pa.string()), ("line_number", pa.int64()), ("line_digest", pa.uint64())]

# `timestamp` is in whole seconds since 1970 and null where the source gives an order instead of times;
# `millisecond` is its fraction (0 to 999). `given_position` is 0 where time orders, and otherwise the place of the
# interaction in the source, counted from 1 over all rows of the file. `given_split` is null, or what a split made
# elsewhere uses the interaction for: `train`, `history` (known when a later target is ranked, but not trained
# on), `validation` or `test`.
INTERACTION_COLUMNS = [
    ("user_id", pa.string()),
    ("item_id", pa.string()),
    ("rating", pa.float64()),
    ("timestamp", pa.int64()),
    ("millisecond", pa.int16()),
    ("verified", pa.bool_()),
    ("given_position", pa.int64()),
    ("given_split", pa.string()),
    ("invalid_fields", pa.list_(pa.string())),
]
INTERACTIONS_SCHEMA = pa.schema([*ORIGIN, *INTERACTION_COLUMNS])
METADATA_SCHEMA = pa.schema(
    [
        *ORIGIN,
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("main_cat", pa.string()),
        ("price", pa.string()),
        ("category", pa.list_(pa.string())),
        ("image_url", pa.string()),
        # what a template makes of the row, null without one
        ("item_text", pa.string()),
        ("invalid_fields", pa.list_(pa.string())),
    ]
)
REJECTS_SCHEMA = pa.schema(
    [
        ("source_file", pa.string()),
        ("line_number", pa.int64()),
        ("byte_offset", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("line", pa.binary()),
    ]
)

# Reasons that hold in every layout and are found before a line reaches its reader.
LANDING_REASONS = ("line too long", "cut short")


class Reject(NamedTuple):
    """Why a line is not kept: ``reason`` from a fixed vocabulary, ``detail`` what was found instead."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Added:
    """Outcome of reading some lines.

    Attributes:
        rejected: index among the lines, and why, of each line that gave no row; ascending.
        skipped: indices of the lines that are neither rows nor rejects: names of columns, and the further lines of a
            record that spans several.
        rows_per_line: rows that each line gave, int ``[lines]``, 0 for a rejected and a skipped line; ``None``
            where every line that is neither gave one.
        spans: number of lines, at least two, of each record that spans several, by the index of its first line.
    """

    rejected: list[tuple[int, Reject]]
    skipped: Sequence[int] = ()
    rows_per_line: np.ndarray | None = None
    spans: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FileReading:
    """The interpretation of one file, shown so that a user can check it.

    Attributes:
        columns: name of the column or field that was taken for each role (``user``, ``item``, ``timestamp``,
            ``rating``, ``verified``, ...), in the words of the file; a role that is not in it was not found.
        unused_columns: names of the columns or fields that are not read, in the order of the file.
        separator: what separates the fields of a table of text, or ``None``.
        time_unit: what the times are written in (``seconds``, ``milliseconds``, ``ISO 8601``, a format of
            ``strptime``, ...), or ``None`` where there are none.
        order: what orders the interactions of a user: ``time``, or ``position`` for their order in the source.
        warnings: what the user should look at, each a sentence with a remedy; does not name the file.
    """

    columns: dict[str, str] = field(default_factory=dict)
    unused_columns: tuple[str, ...] = ()
    separator: str | None = None
    time_unit: str | None = None
    order: str = "time"
    warnings: tuple[str, ...] = ()


class LineReader(Protocol):
    """Reads the lines of one file, in order; each file has its own reader, since it may remember a header.

    A reader may have a method ``reading() -> FileReading``, asked once its last line was read, which says how the
    file was understood. A line that it rejects as ``blank line`` is skipped, and no reject. It never sees a byte order
    mark. Where a record may span several lines, the reader has a method ``add_whole_records(lines, columns)``. It does
    what ``add`` does, but leaves out the lines of an unfinished record at the end, and returns the number of lines used
    as well; the others are handed to it again, in front of those that follow. To ``add`` the lines are the last ones.

    Where rows are left out because the source says so, the reader counts them in an attribute ``left_out``: a file of
    which nothing is kept is then no error.

    A reader may also have ``constants``, a mapping from the names of columns to values: these columns hold the
    same value in every row of the file, and ``add`` leaves their lists alone. Where ``reads_each_line_alone`` is true,
    nothing that it says of a line depends on others: the lines of a large file may then be read in several processes.

    Attributes:
        reasons: every reason it rejects a line for.
    """

    @property
    def reasons(self) -> tuple[str, ...]: ...

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """Append what can be kept of some lines, without their line endings, to the columns.

        Every list of ``columns`` (the names of the layout's columns, without the origin) must grow by the
        number of rows that were kept.
        """
        ...


@runtime_checkable
class WholeRecords(Protocol):
    """Interface of a reader whose records may span several lines."""

    def add_whole_records(self, lines: list[bytes], columns: dict[str, list]) -> tuple[Added, int]:
        """As :meth:`LineReader.add`, less an unfinished record at the end; and how many lines were used."""
        ...


@dataclass(frozen=True)
class SourceFile:
    """A file of a dump: its path, and the name that traces its rows (relative to the dump's folder)."""

    path: Path
    name: str


@dataclass(frozen=True)
class FileCounts:
    """Outcome of landing one file; ``rows_read = rows_kept + rows_rejected + rows_repeated``.

    Attributes:
        source_file: its name.
        bytes: size of the file as it lies on disk (compressed, where it is).
        sha256: SHA-256 of those bytes, in hexadecimal.
        lines_read: lines of it, a header included; rows, in a file that has no lines.
        rows_read: records that were looked at: a line each, or an interaction each where a line holds several.
        rows_kept: rows that landed.
        rows_rejected: rejects that were written.
        rows_repeated: records that only say again what another file of the same dump says, and were checked.
        problem: what is wrong with the file as a whole (it is cut short), in words that say what to do, or ``None``.
        reading: how the file was understood, where its reader says so.
    """

    source_file: str
    bytes: int
    sha256: str
    lines_read: int
    rows_read: int
    rows_kept: int
    rows_rejected: int
    rows_repeated: int = 0
    problem: str | None = None
    reading: FileReading | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FileCounts:
        """From the plain values that ``dataclasses.asdict`` gives and JSON keeps."""
        reading = values.get("reading")
        if reading is not None:
            lists = {name: tuple(reading[name]) for name in ("unused_columns", "warnings")}
            reading = FileReading(**{**reading, **lists})
        return cls(**{**values, "reading": reading})


class Sink(Protocol):
    """Takes what is read, in batches of some ten thousand rows at most, so that memory stays bounded."""

    def rows(self, batch: pa.RecordBatch) -> None:
        """Rows with all columns of the layout's schema (the origin first)."""
        ...

    def rejects(self, batch: pa.RecordBatch) -> None:
        """Rejects with the columns of :data:`REJECTS_SCHEMA`."""
        ...


@dataclass(frozen=True)
class Unit:
    """Some files that are read together, mostly one; can be sent to another process.

    Attributes:
        files: in the order in which they are read.
        layout: name of the layout.
        read: reads them into a sink; one :class:`FileCounts` a file, in their order.
    """

    files: tuple[SourceFile, ...]
    layout: str
    read: Callable[[tuple[SourceFile, ...], Sink], list[FileCounts]]
