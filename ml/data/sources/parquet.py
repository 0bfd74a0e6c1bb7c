"""Interactions as a Parquet file: the same rows as the same table as text gives (:mod:`ml.data.sources.table`).

Users and items are texts or whole numbers, which count as their digits. Timestamps are texts, numbers (both as in
:mod:`ml.data.sources.timestamps`), dates or times, in UTC where they have no zone. Ratings are numbers, or texts of
numbers; null and NaN are no rating. ``verified`` is a boolean, a number or a text. A row traces to the file by its
number, from 1; its digest is the xxh3_64 of the values of the columns that are read, and what a reject keeps is their
JSON. Read in batches, so that memory stays bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from xxhash import xxh3_64_intdigest

from ml.data.lines import LandingError, complaint
from ml.data.reading import (
    END_OF_TIME,
    INTERACTIONS_SCHEMA,
    REJECTS_SCHEMA,
    FileCounts,
    FileReading,
    Reject,
    Sink,
    SourceFile,
)
from ml.data.sources.columns import like_a_time
from ml.data.sources.partitions import partition_columns, roles_with_folders
from ml.data.sources.table import CONTROL_CHARACTER, identity_problem, read_flag, read_rating, table_warnings
from ml.data.sources.table_options import TableOptions
from ml.data.sources.time_format import TimeFormat
from ml.data.sources.timestamps import TIMESTAMP_REASONS, Timestamps, shown

REASONS = (
    "invalid UTF-8",
    "user missing",
    "user with control characters",
    "item missing",
    "item with control characters",
    "rating not a number",
    *TIMESTAMP_REASONS,
)

ROWS_PER_BATCH = 1 << 15
LEARNT_ROWS = 1000
_HASHED_BYTES = 1 << 20
_BETWEEN_VALUES = "\x1f"
# what a time of a unit counts, in parts of a millisecond or in milliseconds
_PARTS_OF_A_MILLISECOND = {"ms": 1, "us": 1000, "ns": 1_000_000}


def read_parquet(files: tuple[SourceFile, ...], sink: Sink, options: TableOptions | None = None) -> list[FileCounts]:
    """Read Parquet files into a sink, one after the other.

    Args:
        files: what to read.
        sink: takes the rows and the rejects.
        options: what the source says of them; names by position and separators are for text alone.

    Raises:
        LandingError: a file is missing, cannot be read, or holds no row; its columns are not known or of a type that
            cannot be what they should be.
    """
    return [_read_file(file, sink, options or TableOptions()) for file in files]


def _read_file(file: SourceFile, sink: Sink, options: TableOptions) -> FileCounts:
    reader = _RowReader(file, options)
    # apart from the sink, which may have troubles of its own
    with _told(file.path):
        sha256, size = _hashed(file.path)
    folders = partition_columns(file.name)
    with closing(_batches(file.path, options, folders)) as batches:
        for names, batch in batches:
            reader.read(names, batch, sink)
    # Spark writes parts without rows, and says nothing by them
    if reader.rows == 0 and "/" not in file.name:
        raise LandingError(f"{file.path} holds no row; write or download it again")
    kept = reader.rows - reader.rejected
    with _told(file.path):
        known = pq.read_schema(file.path).names
    return FileCounts(
        file.name, size, sha256, reader.rows, reader.rows, kept, reader.rejected, reading=reader.reading(known, folders)
    )


def _batches(
    path: Path, options: TableOptions, folders: Mapping[str, str]
) -> Generator[tuple[dict[str, str], pa.RecordBatch], None, None]:
    """Batches of a file, each with the column of each role that the file or the names of its folders know."""
    with _told(path), pq.ParquetFile(path) as parquet:
        in_file = parquet.schema_arrow.names
        places, names = roles_with_folders(path, in_file, options, folders)
        repeated = [name for name in names.values() if in_file.count(name) > 1]
        if repeated:
            raise LandingError(f"{path} has several columns of the name {repeated[0]!r}; rename them")
        read = [names[role] for role, place in places.items() if place < len(in_file)]
        for batch in parquet.iter_batches(ROWS_PER_BATCH, columns=read):
            for role, place in places.items():
                if place >= len(in_file):
                    value = folders[names[role]] or None
                    batch = batch.append_column(names[role], pa.repeat(pa.scalar(value, pa.string()), len(batch)))
            yield names, batch


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what goes wrong with a file into what to do about it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.strerror is not None:
            raise LandingError(complaint(path, error)) from error
        what = " ".join(str(error).split())
        raise LandingError(f"{path} cannot be read as Parquet: {what}; write or download it again") from error


def _hashed(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while data := file.read(_HASHED_BYTES):
            digest.update(data)
            size += len(data)
    return digest.hexdigest(), size


@dataclass
class _Problems:
    """Why some rows of a batch are rejected; of several reasons, the first that was found."""

    is_sound: np.ndarray
    rejects: dict[int, Reject] = field(default_factory=dict)

    def add(self, is_bad: np.ndarray, why: Callable[[int], Reject]) -> None:
        for row in np.flatnonzero(is_bad & self.is_sound).tolist():
            self.rejects[row] = why(row)
        self.is_sound &= ~is_bad


def _rejects_of(read: Sequence[object]) -> Callable[[int], Reject]:
    """Why a row is rejected, of values that are a reject where they are."""

    def why(row: int) -> Reject:
        value = read[row]
        assert isinstance(value, Reject)
        return value

    return why


class _RowReader:
    """Reads the batches of one file, in order."""

    def __init__(self, file: SourceFile, options: TableOptions) -> None:
        self.rows = 0
        self.rejected = 0
        self._file = file
        self._options = options
        self._trimmed = self._floats = 0
        self._names: dict[str, str] = {}
        self._timestamps = Timestamps(TimeFormat(options.time_format) if options.time_format else None)

    def read(self, names: dict[str, str], batch: pa.RecordBatch, sink: Sink) -> None:
        """Give the rows and rejects of a batch to the sink; ``names`` has the column of each role."""
        self._names = names
        count = len(batch)
        if count == 0:
            return
        problems = _Problems(np.ones(count, dtype=bool))
        values = {role: self._plain(batch.column(name), problems) for role, name in names.items()}
        users, items = (self._identities(role, values[role], problems) for role in ("user", "item"))
        ratings = self._ratings(values.get("rating"), count, problems)
        verified, is_invalid = self._flags(values.get("verified"), count)
        milliseconds = self._milliseconds(values.get("timestamp"), problems)

        numbers = np.arange(self.rows + 1, self.rows + count + 1)
        keep = problems.is_sound
        kept = int(keep.sum())
        if kept:
            if milliseconds is None:
                first = self.rows - self.rejected + 1
                seconds, fractions = pa.nulls(kept, pa.int64()), np.zeros(kept, dtype=np.int16)
                positions = np.arange(first, first + kept)
            else:
                seconds, fractions = np.divmod(milliseconds[keep], 1000)
                positions = np.zeros(kept, dtype=np.int64)
            mask = pa.array(keep)
            digests = np.fromiter(map(xxh3_64_intdigest, _joined(values)), dtype=np.uint64, count=count)
            invalid_fields = [["verified"] if invalid else [] for invalid in is_invalid[keep].tolist()]
            columns = {
                "source_file": pa.repeat(self._file.name, kept),
                "line_number": numbers[keep],
                "line_digest": digests[keep],
                "user_id": users.filter(mask),
                "item_id": items.filter(mask),
                "rating": ratings.filter(mask),
                "timestamp": seconds,
                "millisecond": fractions,
                "verified": verified.filter(mask),
                "given_position": positions,
                "given_split": pa.nulls(kept, pa.string()),
                "invalid_fields": invalid_fields,
            }
            arrays = [_array(columns[column.name], column.type) for column in INTERACTIONS_SCHEMA]
            sink.rows(pa.record_batch(arrays, schema=INTERACTIONS_SCHEMA))
        if problems.rejects:
            sink.rejects(self._rejects(values, problems.rejects))
        self.rows += count
        self.rejected += count - kept

    def reading(self, known: Sequence[str], folders: Collection[str]) -> FileReading:
        """How the file was understood; ``known`` are its columns, ``folders`` those in the names of its folders."""
        said = {name: name for name in known} | {name: f"{name} (folder)" for name in folders if name not in known}
        unused = tuple(text for name, text in said.items() if name not in self._names.values())
        has_times = "timestamp" in self._names
        return FileReading(
            columns={role: said[name] for role, name in self._names.items()},
            unused_columns=unused,
            time_unit=(self._timestamps.unit or "times of Parquet") if has_times else None,
            order="time" if has_times else "position",
            warnings=tuple(
                table_warnings(
                    candidates=None if has_times or "timestamp" in self._options.absent else like_a_time(unused),
                    trimmed=self._trimmed,
                    floats=self._floats,
                )
            ),
        )

    def _plain(self, column: pa.Array, problems: _Problems) -> pa.Array:
        """The column without dictionary, its times in UTC, its texts as plain strings, valid in any case."""
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_timestamp(column.type):
            # without its zone, which need not be known here
            return column.cast(pa.int64()).cast(pa.timestamp(column.type.unit))
        if not (
            pa.types.is_string(column.type)
            or pa.types.is_large_string(column.type)
            or pa.types.is_string_view(column.type)
        ):
            return column
        column = column.cast(pa.string())
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            texts = [
                text if text is None else text.decode("utf-8", "replace")
                for text in column.cast(pa.binary()).to_pylist()
            ]
            replaced = pa.array(texts, pa.string())
            is_bad = pc.fill_null(pc.not_equal(column.cast(pa.binary()), replaced.cast(pa.binary())), False)
            problems.add(_booleans(is_bad), lambda row: Reject("invalid UTF-8", repr(shown(texts[row] or ""))))
            return replaced
        return column

    def _identities(self, role: str, values: pa.Array, problems: _Problems) -> pa.Array:
        if pa.types.is_floating(values.type):
            values = self._whole_numbers(role, values)
        if pa.types.is_integer(values.type):
            values = values.cast(pa.string())
        elif pa.types.is_null(values.type):
            values = pa.nulls(len(values), pa.string())
        elif not pa.types.is_string(values.type):
            raise self._wrong_type(role, values.type, "texts or whole numbers")
        trimmed = pc.utf8_trim_whitespace(values)
        kept = pc.replace_substring_regex(trimmed, r"^([0-9]+)\.0+$", r"\1")
        self._trimmed += _count(pc.not_equal(trimmed, values))
        self._floats += _count(pc.not_equal(kept, trimmed))
        values = kept
        is_bad = pc.or_(
            pc.fill_null(pc.equal(values, ""), True),
            pc.fill_null(pc.match_substring_regex(values, CONTROL_CHARACTER.pattern), False),
        )
        problems.add(
            _booleans(is_bad),
            lambda row: identity_problem(role, values[row].as_py()) or Reject(f"{role} missing", ""),
        )
        return values

    def _whole_numbers(self, role: str, values: pa.Array) -> pa.Array:
        """Floats as the integers that they are: a tool that knows missing integers as floats only wrote them."""
        numbers = pc.if_else(pc.is_nan(values), None, values)
        try:
            whole = numbers.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise self._wrong_type(role, values.type, "texts or whole numbers") from error
        self._floats += len(whole) - whole.null_count
        return whole

    def _ratings(self, values: pa.Array | None, count: int, problems: _Problems) -> pa.Array:
        if values is None or pa.types.is_null(values.type):
            return pa.nulls(count, pa.float64())
        if pa.types.is_string(values.type):
            read = [None if text is None else read_rating(text) for text in values.to_pylist()]
            is_bad = np.fromiter((isinstance(rating, Reject) for rating in read), dtype=bool, count=count)
            problems.add(is_bad, _rejects_of(read))
            return pa.array([None if isinstance(rating, Reject) else rating for rating in read], pa.float64())
        if not _is_number(values.type):
            raise self._wrong_type("rating", values.type, "numbers")
        ratings = values.cast(pa.float64(), safe=False)
        ratings = pc.if_else(pc.is_nan(ratings), None, ratings)
        problems.add(
            _booleans(pc.fill_null(pc.is_inf(ratings), False)),
            lambda row: Reject("rating not a number", str(values[row].as_py())),
        )
        return ratings

    def _flags(self, values: pa.Array | None, count: int) -> tuple[pa.Array, np.ndarray]:
        """What the rows say of the purchase being verified, and which cannot be understood, bool ``[rows]``."""
        if values is None or pa.types.is_null(values.type):
            return pa.nulls(count, pa.bool_()), np.zeros(count, dtype=bool)
        if pa.types.is_boolean(values.type):
            return values, np.zeros(count, dtype=bool)
        if not (pa.types.is_string(values.type) or _is_number(values.type)):
            raise self._wrong_type("verified", values.type, "booleans")
        read = [read_flag("" if value is None else str(value)) for value in values.to_pylist()]
        is_invalid = np.fromiter((not is_valid for _, is_valid in read), dtype=bool, count=count)
        return pa.array([flag for flag, _ in read], pa.bool_()), is_invalid

    def _milliseconds(self, values: pa.Array | None, problems: _Problems) -> np.ndarray | None:
        if values is None:
            return None
        count = len(values)
        if pa.types.is_string(values.type):
            return self._milliseconds_of_texts(values, problems)
        missing = values.is_null(nan_is_null=True)
        problems.add(_booleans(missing), lambda row: Reject("timestamp missing", ""))
        if pa.types.is_null(values.type):
            return np.zeros(count, dtype=np.int64)
        if _is_number(values.type):
            if pa.types.is_decimal(values.type):
                values = values.cast(pa.float64())
            self._learn([str(value) for value in values[:LEARNT_ROWS].drop_null().to_pylist()])
            numbers = pc.if_else(missing, pa.scalar(0, values.type), values).to_numpy(zero_copy_only=False)
            milliseconds, is_possible = self._timestamps.from_numbers(numbers, problems.is_sound)
            problems.add(
                ~is_possible,
                lambda row: Reject("timestamp out of range", self._timestamps.describe(str(numbers[row]))),
            )
            return milliseconds
        if pa.types.is_date(values.type):
            values = values.cast(pa.timestamp("ms"))
        elif not pa.types.is_timestamp(values.type):
            raise self._wrong_type("timestamp", values.type, "numbers, dates, times or texts")
        times = pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        if values.type.unit == "s":
            milliseconds = np.clip(times, 0, END_OF_TIME) * 1000
        else:
            parts = _PARTS_OF_A_MILLISECOND[values.type.unit]
            milliseconds = times // parts + (times % parts * 2 >= parts) * (parts > 1)
        is_possible = (milliseconds >= 1000) & (milliseconds < END_OF_TIME * 1000)
        problems.add(
            ~is_possible, lambda row: Reject("timestamp out of range", f"{times[row]} {values.type.unit} since 1970")
        )
        return milliseconds

    def _learn(self, texts: list[str]) -> None:
        """Look at the first times, as for tables of text."""
        if self.rows == 0 and (problem := self._timestamps.learn(texts)):
            column = self._names["timestamp"]
            raise LandingError(f"{self._file.path}: the column {column!r}, taken as the time, {problem}")

    def _milliseconds_of_texts(self, values: pa.Array, problems: _Problems) -> np.ndarray:
        texts = ["" if text is None else text for text in values.to_pylist()]
        self._learn(texts[:LEARNT_ROWS])
        milliseconds = self._timestamps.read_all(texts) if problems.is_sound.all() else None
        if milliseconds is not None:
            return milliseconds
        read = [
            self._timestamps.read(text) if is_sound else 0
            for text, is_sound in zip(texts, problems.is_sound.tolist(), strict=True)
        ]
        is_bad = np.fromiter((isinstance(value, Reject) for value in read), dtype=bool, count=len(read))
        problems.add(is_bad, _rejects_of(read))
        return np.array([0 if isinstance(value, Reject) else value for value in read], dtype=np.int64)

    def _rejects(self, values: dict[str, pa.Array], rejects: dict[int, Reject]) -> pa.RecordBatch:
        rows = sorted(rejects)
        columns = {
            "source_file": [self._file.name] * len(rows),
            "line_number": [self.rows + row + 1 for row in rows],
            "byte_offset": [None] * len(rows),
            "reason": [rejects[row].reason for row in rows],
            "detail": [rejects[row].detail for row in rows],
            "line": [
                _json({self._names[role]: _value(column[row]) for role, column in values.items()}) for row in rows
            ],
        }
        return pa.record_batch(
            [pa.array(columns[column.name], column.type) for column in REJECTS_SCHEMA], schema=REJECTS_SCHEMA
        )

    def _wrong_type(self, role: str, found: pa.DataType, wanted: str) -> LandingError:
        return LandingError(
            f"{self._file.path}: column {self._names[role]!r}, the {role}, is of type {found}; write it as {wanted}"
        )


def _array(values: pa.Array | np.ndarray | list, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _count(is_so: pa.Array) -> int:
    return pc.sum(is_so).as_py() or 0


def _booleans(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)


def _joined(values: dict[str, pa.Array]) -> list[bytes]:
    """The values of each row as one text, null as nothing."""
    texts = [column.cast(pa.string()) for column in values.values()]
    joined = pc.binary_join_element_wise(*texts, _BETWEEN_VALUES, null_handling="replace", null_replacement="")
    return joined.cast(pa.binary()).to_pylist()


def _value(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        # a time beyond the years that Python knows
        return scalar.value


def _json(row: dict) -> bytes:
    options = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
    return orjson.dumps(row, default=str, option=options)
