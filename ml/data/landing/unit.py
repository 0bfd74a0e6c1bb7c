"""Landing of one unit: what its reader gives, as Parquet, with its counts and digests."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.content_digest import TableDigest
from ml.data.landing.file_lines import LandingError, complaint
from ml.data.landing.schema import REJECTS_SCHEMA, FileCounts, SourceFile, Unit

# No two of these are equal, so a dictionary would only cost time.
_WITHOUT_DICTIONARY = ("line_number", "byte_offset", "line_digest", "line")
_ASCENDING = ("line_number", "byte_offset")
ROWS_PER_GROUP = 1 << 16
BYTES_PER_GROUP = 32 << 20


@dataclass(frozen=True)
class LandedUnit:
    """Outcome of landing one unit.

    Attributes:
        files: the counts of each of its files.
        rejects_by_reason: its rejects, counted.
        digests: of the contents of its ``rows`` and ``rejects``.
        ordered_by: what orders its interactions, ``time`` or ``position``; ``both`` where only some rows have a time,
            and ``None`` where there are no rows, or rows of metadata.
    """

    files: tuple[FileCounts, ...]
    rejects_by_reason: dict[str, int]
    digests: dict[str, str]
    ordered_by: str | None = None

    def to_json(self) -> dict:
        """As plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict) -> LandedUnit:
        """The inverse of :meth:`to_json`."""
        files = tuple(FileCounts.from_json(file) for file in values["files"])
        return cls(files, values["rejects_by_reason"], values["digests"], values.get("ordered_by"))


def land_unit(
    unit: Unit, schema: pa.Schema, folder: Path, key: str, expected: tuple[str, ...] | None = None
) -> LandedUnit:
    """Read one unit into ``rows/<key>.parquet`` and ``rejects/<key>.parquet`` of a folder.

    Args:
        unit: what to read.
        schema: columns of its rows.
        folder: where ``rows`` and ``rejects`` exist.
        key: name of the two tables.
        expected: SHA-256 of each file, taken before.

    Raises:
        LandingError: a file cannot be read, or changed while it was read.
        RuntimeError: the counts of the reader are not those of what it gave.
    """
    before = [_state(file) for file in unit.files]
    with _ParquetSink(folder, key, schema) as sink:
        counts = tuple(unit.read(unit.files, sink))
    for place, file in enumerate(unit.files):
        known = expected[place] if expected else counts[place].sha256
        if _state(file) != before[place] or counts[place].sha256 != known:
            raise LandingError(f"{file.path} changed while it was read; land it again when nothing writes to it")
    _check_counts(unit, counts, sink)
    return LandedUnit(counts, dict(sorted(sink.reasons.items())), sink.digests(), sink.ordered_by())


def write_table(path: Path, schema: pa.Schema) -> None:
    """Write an empty table."""
    with _writer(path, schema):
        pass


def _state(file: SourceFile) -> tuple[int, int]:
    try:
        status = os.stat(file.path)
    except OSError as error:
        raise LandingError(complaint(file.path, error)) from error
    return status.st_size, status.st_mtime_ns


def _check_counts(unit: Unit, counts: tuple[FileCounts, ...], sink: _ParquetSink) -> None:
    names = [file.name for file in unit.files]
    if [file.source_file for file in counts] != names:
        raise RuntimeError(
            f"the reader of {unit.layout} gave counts of {[file.source_file for file in counts]} for {names}"
        )
    for file in counts:
        if file.rows_read != file.rows_kept + file.rows_rejected + file.rows_repeated:
            raise RuntimeError(f"the counts of {file.source_file} do not add up: {file}")
    kept, rejected = sum(file.rows_kept for file in counts), sum(file.rows_rejected for file in counts)
    if (kept, rejected) != (sink.rows_taken, sink.rejects_taken):
        raise RuntimeError(
            f"the reader of {unit.layout} counts {kept} rows and {rejected} rejects in {names}, and gave "
            f"{sink.rows_taken} and {sink.rejects_taken}"
        )


class _ParquetSink:
    """Writes what is read.

    One batch is encoded and digested, mostly outside the interpreter lock, while the next is read.
    """

    def __init__(self, folder: Path, key: str, schema: pa.Schema) -> None:
        self._paths = {part: folder / part / f"{key}.parquet" for part in ("rows", "rejects")}
        self._schemas = {"rows": schema, "rejects": REJECTS_SCHEMA}
        self._digests = {part: TableDigest(schema) for part, schema in self._schemas.items()}
        # small batches make one group of rows, so that tables do not depend on the portions in which they come
        self._held: dict[str, list[pa.RecordBatch]] = {"rows": [], "rejects": []}
        self._rows_held = {"rows": 0, "rejects": 0}
        self._bytes_held = {"rows": 0, "rejects": 0}
        self._writing: Future | None = None
        self._has_times = "timestamp" in schema.names
        self._rows_without_time = 0
        self.rows_taken = 0
        self.rejects_taken = 0
        self.reasons: Counter[str] = Counter()

    def __enter__(self) -> _ParquetSink:
        with ExitStack() as stack:
            self._writers = {
                part: stack.enter_context(_writer(self._paths[part], schema)) for part, schema in self._schemas.items()
            }
            self._thread = stack.enter_context(ThreadPoolExecutor(1, "raw2rank-write"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with self._stack:
            if error[0] is None:
                for part in self._paths:
                    self._write_held(part)
                self._wait()

    def rows(self, batch: pa.RecordBatch) -> None:
        """See :meth:`ml.data.landing.schema.Sink.rows`."""
        self.rows_taken += batch.num_rows
        if self._has_times:
            self._rows_without_time += batch.column("timestamp").null_count
        self._write("rows", batch)

    def rejects(self, batch: pa.RecordBatch) -> None:
        """See :meth:`ml.data.landing.schema.Sink.rejects`."""
        self.rejects_taken += batch.num_rows
        self.reasons.update(batch.column("reason").to_pylist())
        self._write("rejects", batch)

    def ordered_by(self) -> str | None:
        """See :class:`LandedUnit`; known in the end."""
        if not self._has_times or self.rows_taken == 0:
            return None
        if self._rows_without_time == 0:
            return "time"
        return "position" if self._rows_without_time == self.rows_taken else "both"

    def digests(self) -> dict[str, str]:
        """Digests of the two tables, known in the end."""
        return {part: digest.hexdigest() for part, digest in self._digests.items()}

    def _write(self, part: str, batch: pa.RecordBatch) -> None:
        self._held[part].append(batch)
        self._rows_held[part] += batch.num_rows
        self._bytes_held[part] += batch.nbytes
        if self._rows_held[part] >= ROWS_PER_GROUP or self._bytes_held[part] >= BYTES_PER_GROUP:
            self._write_held(part)

    def _write_held(self, part: str) -> None:
        held, self._held[part] = self._held[part], []
        self._rows_held[part] = self._bytes_held[part] = 0
        if held:
            self._wait()
            self._writing = self._thread.submit(self._write_now, part, pa.concat_batches(held))

    def _write_now(self, part: str, batch: pa.RecordBatch) -> None:
        self._writers[part].write_batch(batch)
        self._digests[part].add(batch)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[name for name in schema.names if name not in _WITHOUT_DICTIONARY],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in _ASCENDING if name in schema.names},
    )
