"""Interactions as a table of text: a record each, its fields separated, behind a line that names the columns.

Which column is what, :mod:`ml.data.sources.columns` says; what separates and quotes the fields,
:mod:`ml.data.sources.dialect`; what a row must hold, :mod:`ml.data.sources.rows`. A record needs as many fields as
there are names. Without a column of times the order of the lines is the order of the interactions (``given_position``,
over the rows that are kept).

A quoted field may hold line ends: the record then spans several lines, and none of them is a row of its own. Where the
quotes of such a record are not balanced, its first line is a reject and the next line begins a record. The line of
names may stand again further on, as in files that were put together; it is no row. One that names other columns, or
the same in another order, ends the reading.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from ml.data.landing.file_lines import LandingError, RefusedLine
from ml.data.landing.schema import LANDING_REASONS, Added, FileReading, Reject
from ml.data.sources.columns import find_columns, is_known_name, plain_name
from ml.data.sources.dialect import Dialect, find_dialect, recoded
from ml.data.sources.keep import Keep
from ml.data.sources.quoting import NONE
from ml.data.sources.rows import ROW_REASONS, Rows, like_times
from ml.data.sources.table_options import TableOptions

REASONS = (
    *LANDING_REASONS,
    "blank line",
    "invalid UTF-8",
    "malformed quotes",
    "wrong number of fields",
    *ROW_REASONS,
)

BYTE_ORDER_MARK = "\ufeff"
# what is wrong with one line makes only so many lines slow
_LINES_TOGETHER = 128
_LOOKED_AT_ROWS = 100


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
        self._rows = Rows(self._options)
        self._in_front: int | None = None
        self._repeated_names = 0

    @cached_property
    def _dialect(self) -> Dialect:
        dialect = find_dialect(self._path, self._options)
        if "timestamp" in dialect.places:
            place = dialect.places["timestamp"]
            problem = self._rows.timestamps.learn([fields[place] for fields in dialect.sample if len(fields) > place])
            if problem:
                raise LandingError(f"{self._path}: the column {dialect.names[place]!r}, taken as the time, {problem}")
        return dialect

    @cached_property
    def _keep(self) -> Keep:
        return Keep(self._options.keep, self._dialect.names, f"{self._path}, its columns")

    @cached_property
    def _names_again(self) -> frozenset[str]:
        """How the name of the user or of the item may be written where the line of names stands again."""
        names = [self._dialect.names[self._dialect.places[role]] for role in ("user", "item")]
        usual = ("user_id", "user", "userId", "item_id", "item", "itemId")
        spellings = [*names, *usual]
        return frozenset(
            spelling for name in spellings for spelling in (name, name.lower(), name.upper(), name.title())
        )

    @property
    def left_out(self) -> int:
        """See :class:`ml.data.landing.schema.LineReader`."""
        return self._keep.left_out

    def reading(self) -> FileReading:
        """How the file was understood."""
        dialect = self._dialect
        columns = {role: dialect.names[place] for role, place in dialect.places.items()}
        unused = tuple(
            name or "(no name)" for place, name in enumerate(dialect.names) if place not in dialect.places.values()
        )
        sample = dialect.sample[:_LOOKED_AT_ROWS]
        values = {
            name: [fields[place] for fields in sample if len(fields) > place]
            for place, name in enumerate(dialect.names)
        }
        warnings = self._rows.warnings(columns, like_times(unused, values))
        if self._repeated_names:
            warnings.append(f"the line of names stands {self._repeated_names:,} more times in the file; it is no row")
        warnings += [
            f"unused names {name!r}, which is no column of the file"
            for name in self._options.unused
            if name not in dialect.names and name not in map(plain_name, dialect.names)
        ]
        warnings += self._keep.warnings(self._rows.count > 0)
        return FileReading(
            columns=columns,
            unused_columns=tuple(name for name in unused if name not in self._keep.places),
            separator=dialect.described,
            time_unit=self._rows.timestamps.unit if "timestamp" in columns else None,
            order="time" if "timestamp" in columns else "position",
            warnings=tuple(warnings),
        )

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.landing.schema.LineReader.add`.

        Raises:
            LandingError: the first line does not name the columns, or a later one names others.
        """
        return self._add(lines, columns, is_end=True)[0]

    def add_whole_records(self, lines: list[bytes], columns: dict[str, list]) -> tuple[Added, int]:
        """See :class:`ml.data.landing.schema.LineReader`."""
        return self._add(lines, columns, is_end=False)

    def _add(self, lines: list[bytes], columns: dict[str, list], is_end: bool) -> tuple[Added, int]:
        if self._in_front is None:
            self._in_front = self._dialect.first_lines
        if self._options.encoding:
            lines = recoded(lines, self._options.encoding)
        start = min(self._in_front, len(lines))
        self._in_front -= start
        skipped = list(range(start))
        rejected: list[tuple[int, Reject]] = []
        spans: dict[int, int] = {}
        if start == len(lines) or self._add_sound(lines[start:], start, columns, skipped):
            return Added(rejected, skipped), len(lines)
        used = start
        while used < len(lines):
            together = lines[used : used + _LINES_TOGETHER]
            if self._add_sound(together, used, columns, skipped):
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
        if isinstance(fields, Reject):
            rejected.append((index, fields))
        elif self._are_names(fields, index):
            self._repeated_names += 1
            skipped.append(index)
            spans.pop(index, None)
        elif self._keep and not all(self._keep.is_kept(self._looked_at([fields]), 1)):
            skipped.append(index)
            spans.pop(index, None)
        else:
            texts = {role: fields[place] for role, place in self._dialect.places.items()}
            problem = self._rows.add(texts, columns)
            if problem is not None:
                rejected.append((index, problem))
        return length

    def _are_names(self, fields: Sequence[str], index: int) -> bool:
        """Whether a record is the line of names once more.

        Raises:
            RefusedLine: it names other columns, or the same in another order.
        """
        dialect = self._dialect
        names = [field.strip() for field in fields]
        lower = [name.lower() for name in names]
        known = [name.lower() for name in dialect.names]
        if lower == known:
            return True
        if not all(is_known_name(names[dialect.places[role]]) for role in ("user", "item")):
            return False
        try:
            places = find_columns(names, {}, "")
        except LandingError:
            places = {}
        if sorted(lower) != sorted(known):
            # a row may hold words that are names as well, but hardly for all that is needed
            needed = {role for role in ("user", "item", "timestamp", "rating") if role in dialect.places}
            if not needed <= set(places):
                return False
            if all(places[role] == dialect.places[role] for role in needed):
                return True
        listed = ", ".join(map(repr, names))
        raise RefusedLine(
            self._path,
            index,
            f"names the columns again, and otherwise than the first line ({listed}); split the file there, and name "
            'both files in their order: interactions = ["<first>", "<second>"] in source.toml',
        )

    def _looked_at(self, rows: Sequence[Sequence[str]]) -> dict[str, list[str]]:
        return {name: [fields[place] for fields in rows] for name, place in self._keep.places.items()}

    def _add_sound(self, lines: list[bytes], first: int, columns: dict[str, list], skipped: list[int]) -> bool:
        """All of the lines, if nothing is wrong with any; otherwise none, and nothing is changed.

        ``first`` is the index of the first of them, for ``skipped``, to which those that are left out are added.
        """
        fields = self._fields_by_column(lines)
        if fields is None:
            return False
        places = self._dialect.places
        # elsewhere the name is no time and no rating; but where rows are left out it would be one of them
        if self._keep or not {"timestamp", "rating"} & set(places):
            names = self._names_again
            if not all(names.isdisjoint(fields[places[role]]) for role in ("user", "item")):
                return False  # maybe the line of names again
        texts = {role: fields[place] for role, place in places.items()}
        if not self._keep:
            return self._rows.add_all(texts, columns)
        before = self._keep.left_out
        kept = self._keep.is_kept({name: fields[place] for name, place in self._keep.places.items()}, len(lines))
        some = {role: [text for text, keep in zip(values, kept, strict=True) if keep] for role, values in texts.items()}
        if any(kept) and not self._rows.add_all(some, columns):
            self._keep.left_out = before
            return False
        skipped.extend(first + index for index, keep in enumerate(kept) if not keep)
        return True

    def _fields_by_column(self, lines: list[bytes]) -> list[Sequence[str]] | None:
        try:
            text = b"\n".join(lines).decode("utf-8")
        except UnicodeDecodeError:
            return None
        if not text.isascii() and BYTE_ORDER_MARK in text:
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
            # a byte order mark where files were put together
            text = record.decode("utf-8").lstrip(BYTE_ORDER_MARK)
        except UnicodeDecodeError as invalid:
            remedy = 'save the file as UTF-8, or say what it is, as in encoding = "cp1252" in source.toml'
            return Reject("invalid UTF-8", f"byte {invalid.start}: {invalid.reason}; {remedy}")
        try:
            fields = self._dialect.quoting.fields(text)
        except csv.Error as error:
            return Reject("malformed quotes", str(error))
        if len(fields) != len(self._dialect.names):
            return Reject("wrong number of fields", f"{len(fields)} instead of {len(self._dialect.names)}")
        return fields
