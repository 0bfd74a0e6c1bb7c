"""The rows of a Parquet file, batch by batch, as :mod:`ml.data.sources.parquet` describes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import (
    END_OF_TIME,
    INTERACTIONS_SCHEMA,
    REJECTS_SCHEMA,
    FileReading,
    Reject,
    Sink,
    SourceFile,
)
from ml.data.sources.columns import like_a_time, plain_name
from ml.data.sources.identities import CONTROL_CHARACTER, Identities, identity_problem
from ml.data.sources.keep import Keep
from ml.data.sources.rows import no_time, read_flag, read_rating
from ml.data.sources.table_options import TableOptions
from ml.data.sources.time_format import TimeFormat
from ml.data.sources.timestamps import Timestamps, shown

LEARNT_ROWS = 1000
_BETWEEN_VALUES = "\x1f"
# up to here every whole number has a float of its own, of 16, 32 and 64 bits
_EXACT_NUMBERS = {pa.float16(): 1 << 11, pa.float32(): 1 << 24, pa.float64(): 1 << 53}
# what a time of a unit counts, in parts of a millisecond or in milliseconds
_PARTS_PER_MILLISECOND = {"ms": 1, "us": 1000, "ns": 1_000_000}


@dataclass
class _Problems:
    """Reasons for rejecting rows of a batch; of several reasons the first found."""

    is_sound: np.ndarray
    rejects: dict[int, Reject] = field(default_factory=dict)

    def add(self, is_bad: np.ndarray, why: Callable[[int], Reject]) -> None:
        for row in np.flatnonzero(is_bad & self.is_sound).tolist():
            self.rejects[row] = why(row)
        self.is_sound &= ~is_bad


def _rejects_of(read: Sequence[object]) -> Callable[[int], Reject]:
    """The reason for rejecting a row."""

    def why(row: int) -> Reject:
        value = read[row]
        assert isinstance(value, Reject)
        return value

    return why


class RowReader:
    """Reads the batches of one file, in order."""

    def __init__(self, file: SourceFile, options: TableOptions) -> None:
        self.lines = 0
        self.rows = 0
        self.rejected = 0
        self._file = file
        self._options = options
        self._identities_seen = Identities()
        self._known: Sequence[str] = ()
        self._names: dict[str, str] = {}
        self._keep = Keep({}, (), "")
        self._has_coarse_times = False
        self._timestamps = Timestamps(TimeFormat(options.time_format) if options.time_format else None)

    def begin(self, known: Sequence[str], names: dict[str, str], keep: Keep) -> None:
        """Columns of the file, the column of each role, and which rows are kept."""
        self._known, self._names, self._keep = known, names, keep

    def read(self, batch: pa.RecordBatch, sink: Sink) -> None:
        """Give the rows and rejects of a batch to the sink."""
        numbers = np.arange(self.lines + 1, self.lines + len(batch) + 1)
        self.lines += len(batch)
        if self._keep:
            texts = {name: _texts(batch.column(self._place(batch, name))) for name in self._keep.places}
            mask = np.array(self._keep.is_kept(texts, len(batch)), dtype=bool)
            batch, numbers = batch.filter(pa.array(mask)), numbers[mask]
        names = self._names
        count = len(batch)
        if count == 0:
            return
        problems = _Problems(np.ones(count, dtype=bool))
        values = {role: self._plain(batch.column(name), problems) for role, name in names.items()}
        users, items = (self._identities(role, values[role], problems) for role in ("user", "item"))
        ratings = self._ratings(values.get("rating"), count, problems)
        verified, is_invalid = self._flags(values.get("verified"), count)
        milliseconds = self._milliseconds(values.get("timestamp"), problems)

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
            sink.rejects(self._rejects(values, problems.rejects, numbers))
        self.rows += count
        self.rejected += count - kept

    def reading(self, folders: Collection[str]) -> FileReading:
        """The interpretation of the file; ``folders`` are the columns in the names of its folders."""
        known = self._known
        said = {name: name for name in known} | {name: f"{name} (folder)" for name in folders if name not in known}
        used = {*self._names.values(), *self._keep.places}
        unused = tuple(text for name, text in said.items() if name not in used)
        has_times = "timestamp" in self._names
        warnings = [] if has_times or "timestamp" in self._options.absent else [no_time(like_a_time(unused))]
        if self.lines == 0:
            warnings = ["it holds no row"]
        if self._has_coarse_times:
            warnings.append("the times are floats of 32 bits, which are exact to some two minutes only")
        for key in ("separator", "encoding"):
            if getattr(self._options, key):
                warnings.append(f"{key} is for tables of text, and says nothing of Parquet")
        return FileReading(
            columns={role: said[name] for role, name in self._names.items()},
            unused_columns=unused,
            time_unit=(self._timestamps.unit or "times of Parquet") if has_times else None,
            order="time" if has_times else "position",
            warnings=(*warnings, *self._identities_seen.warnings(), *self._keep.warnings(self.rows > 0)),
        )

    def _place(self, batch: pa.RecordBatch, name: str) -> int:
        """Place of a column that is looked at, whose name may be written without its type."""
        columns = batch.schema.names
        return next(place for place, known in enumerate(columns) if name in (known, plain_name(known)))

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
        if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
            values = self._whole_numbers(role, values)
        if pa.types.is_integer(values.type):
            values = values.cast(pa.string())
        elif pa.types.is_null(values.type):
            values = pa.nulls(len(values), pa.string())
        elif not pa.types.is_string(values.type):
            raise self._wrong_type(role, values.type, "texts or whole numbers")
        trimmed = pc.utf8_trim_whitespace(values)
        kept = pc.replace_substring_regex(trimmed, r"^(-?[0-9]+)\.0+$", r"\1")
        self._identities_seen.trimmed += _count(pc.not_equal(trimmed, values))
        self._identities_seen.floats += _count(pc.not_equal(kept, trimmed))
        texts = [text for text in kept.to_pylist() if text]
        self._identities_seen.note(texts, "".join(texts))
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
        """Floats and decimals as the integers that they are, as a tool writes integers of which some are missing."""
        if pa.types.is_decimal(values.type):
            try:
                return values.cast(pa.decimal256(76, 0)).cast(pa.string())
            except pa.ArrowInvalid as error:
                raise self._wrong_type(role, values.type, "texts or whole numbers") from error
        numbers = pc.if_else(pc.is_nan(values), None, values)
        try:
            whole = numbers.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise self._wrong_type(role, values.type, "texts or whole numbers") from error
        self._identities_seen.floats += len(whole) - whole.null_count
        beyond = whole.filter(pc.fill_null(pc.greater(pc.abs(whole), _EXACT_NUMBERS[values.type]), False))
        self._identities_seen.count("rounded", map(str, beyond.to_pylist()), bool)
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
        """The values of the verification column, and the rows whose value is not understood, bool ``[rows]``."""
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
            self._has_coarse_times |= values.type in (pa.float16(), pa.float32())
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
            parts = _PARTS_PER_MILLISECOND[values.type.unit]
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

    def _rejects(self, values: dict[str, pa.Array], rejects: dict[int, Reject], numbers: np.ndarray) -> pa.RecordBatch:
        rows = sorted(rejects)
        columns = {
            "source_file": [self._file.name] * len(rows),
            "line_number": numbers[rows],
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


def _texts(column: pa.Array) -> list[str]:
    """The values of a column as texts, null as an empty one."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return ["" if text is None else text for text in column.cast(pa.string()).to_pylist()]


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
