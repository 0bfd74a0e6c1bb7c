"""Landing: the raw review dump as Parquet, row by row, and every line that is not a row with its reason.

Each file is read once from start to end in bounded memory. What makes a line a row is in
:mod:`ml.data.records`. Nothing is cleaned here beyond types: values are kept as they stand in the dump, and a
row carries the file and the line it comes from.

A landing folder holds ``rows.parquet``, ``rejects.parquet`` and ``files.parquet`` (one row a file), or does
not exist: the three appear together or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_64_intdigest

from ml.data.content_digest import parquet_digest
from ml.data.dumps import Dumps, datasets_in, find_dumps
from ml.data.files import atomic_folder
from ml.data.lines import Block, GzipLines, LandingError
from ml.data.records import END_OF_TIME, NO_FIELDS, Metadata, Reject, Review, read_metadata, read_review

__all__ = [
    "Dumps",
    "Landed",
    "LandedFile",
    "LandingError",
    "content_digest",
    "datasets_in",
    "find_dumps",
    "land_metadata",
    "land_reviews",
]

ROWS_PER_BATCH = 1 << 16
# of the dump: long lines make smaller batches, so that memory stays bounded
BYTES_PER_BATCH = 64 << 20

_ORIGIN = [("source_file", pa.string()), ("line_number", pa.int64())]
REVIEWS_SCHEMA = pa.schema(
    [
        *_ORIGIN,
        ("line_digest", pa.uint64()),
        ("reviewer_id", pa.string()),
        ("asin", pa.string()),
        ("overall", pa.float64()),
        ("unix_review_time", pa.int64()),
        ("verified", pa.bool_()),
        ("invalid_fields", pa.list_(pa.string())),
    ]
)
METADATA_SCHEMA = pa.schema(
    [
        *_ORIGIN,
        ("line_digest", pa.uint64()),
        ("asin", pa.string()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("main_cat", pa.string()),
        ("price", pa.string()),
        ("category", pa.list_(pa.string())),
        ("image_url", pa.string()),
        ("invalid_fields", pa.list_(pa.string())),
    ]
)
REJECTS_SCHEMA = pa.schema(
    [
        *_ORIGIN,
        ("byte_offset", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("line", pa.binary()),
    ]
)
FILES_SCHEMA = pa.schema(
    [
        ("source_file", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("lines_read", pa.int64()),
        ("rows_kept", pa.int64()),
        ("rows_rejected", pa.int64()),
    ]
)


@dataclass(frozen=True)
class LandedFile:
    """What became of one file: ``bytes`` and ``sha256`` are of the compressed file."""

    source_file: str
    bytes: int
    sha256: str
    lines_read: int
    rows_kept: int
    rows_rejected: int


@dataclass(frozen=True)
class Landed:
    """What became of some files; ``rejects_by_reason`` counts the rejected lines of all of them."""

    files: tuple[LandedFile, ...]
    rejects_by_reason: dict[str, int]

    @property
    def lines_read(self) -> int:
        return sum(file.lines_read for file in self.files)

    @property
    def rows_kept(self) -> int:
        return sum(file.rows_kept for file in self.files)

    @property
    def rows_rejected(self) -> int:
        return sum(file.rows_rejected for file in self.files)


def land_reviews(files: list[Path], folder: Path) -> Landed:
    """Write the reviews of some files into a landing folder, in the order of the files' names.

    ``rows.parquet`` has one row a kept line: ``source_file`` (name without folder), ``line_number`` (from 1),
    ``line_digest`` (xxh3_64 of the line without its line ending), ``reviewer_id``, ``asin``, ``overall``,
    ``unix_review_time`` (seconds), ``verified``, ``invalid_fields``. ``rejects.parquet`` has one row for each
    other line: ``source_file``, ``line_number``, ``byte_offset`` (in the decompressed stream), ``reason``,
    ``detail``, ``line`` (its bytes; the start of one longer than 16 MiB). ``files.parquet`` has one row a
    file, with ``lines_read = rows_kept + rows_rejected``.

    Raises:
        LandingError: a file that cannot be read to its end (see :class:`ml.data.lines.GzipLines`), no file,
            or two of one name. The folder is then as it was.
    """
    if not files:
        raise LandingError(f"there is no file of reviews to land in {folder}")
    return _land(files, folder, REVIEWS_SCHEMA, _add_reviews)


def land_metadata(files: list[Path], folder: Path) -> Landed:
    """Write the metadata of some files into a landing folder; without files, empty tables.

    As :func:`land_reviews`, with the columns ``asin``, ``title``, ``brand``, ``main_cat``, ``price``,
    ``category``, ``image_url``, ``invalid_fields`` in the rows.
    """
    return _land(files, folder, METADATA_SCHEMA, _add_metadata)


def content_digest(folder: Path) -> str:
    """Digest of the rows and rejects of a landing folder, in hexadecimal.

    Equal for equal values in equal order, however the dump or the Parquet files are compressed or cut into
    row groups; different when a value, a name of a file, or an order differs.
    """
    parts = {name: parquet_digest(folder / f"{name}.parquet") for name in ("rows", "rejects")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


# Adds what can be kept of some lines to the columns; the rest comes back with its place among the lines.
_AddLines = Callable[[list[bytes], dict[str, list]], list[tuple[int, Reject]]]


def _land(files: list[Path], folder: Path, schema: pa.Schema, add_lines: _AddLines) -> Landed:
    files = sorted(files, key=lambda path: path.name)
    for one, other in pairwise(files):
        if one.name == other.name:
            raise LandingError(f"{one} and {other} have the same name; rename one, rows are traced by it")
    reasons: Counter[str] = Counter()
    with atomic_folder(folder) as new:
        with (
            _table(new / "rows.parquet", schema) as rows,
            _table(new / "rejects.parquet", REJECTS_SCHEMA) as rejects,
        ):
            landed = [_land_file(path, rows, rejects, add_lines, reasons) for path in files]
        columns = {name: [getattr(file, name) for file in landed] for name in FILES_SCHEMA.names}
        pq.write_table(pa.table(columns, schema=FILES_SCHEMA), new / "files.parquet")
    return Landed(tuple(landed), dict(sorted(reasons.items())))


def _land_file(path: Path, rows: _Table, rejects: _Table, add_lines: _AddLines, reasons: Counter[str]) -> LandedFile:
    lines = GzipLines(path)
    rejected_lines = 0
    with closing(iter(lines)) as blocks:
        for block in blocks:
            if block.long_line_bytes is None:
                rejected = add_lines(block.lines, rows.columns)
            else:
                shown = f"{block.long_line_bytes:,} bytes; the first {len(block.raw):,} are kept"
                rejected = [(0, Reject("line too long", shown))]
            _add_origin(rows, path.name, block, [index for index, _ in rejected])
            if rejected:
                _add_rejects(rejects, path.name, block, rejected)
                rejected_lines += len(rejected)
                reasons.update(reject.reason for _, reject in rejected)
            for table in (rows, rejects):
                if table.rows >= ROWS_PER_BATCH or table.bytes >= BYTES_PER_BATCH:
                    table.flush()
    kept = lines.lines_read - rejected_lines
    return LandedFile(path.name, lines.bytes, lines.sha256, lines.lines_read, kept, rejected_lines)


def _add_origin(rows: _Table, source_file: str, block: Block, rejected: list[int]) -> None:
    count = len(block.lines)
    numbers = np.arange(block.first_line_number, block.first_line_number + count)
    digests = np.fromiter(map(xxh3_64_intdigest, block.lines), dtype=np.uint64, count=count)
    if rejected:
        numbers, digests = np.delete(numbers, rejected), np.delete(digests, rejected)
    rows.add_origin(source_file, numbers)
    rows.arrays["line_digest"].append(digests)
    rows.bytes += len(block.raw)


def _add_rejects(rejects: _Table, source_file: str, block: Block, rejected: list[tuple[int, Reject]]) -> None:
    places = np.array([index for index, _ in rejected])
    rejects.add_origin(source_file, places + block.first_line_number)
    rejects.arrays["byte_offset"].append(block.byte_offsets()[places])
    for index, reject in rejected:
        rejects.columns["reason"].append(reject.reason)
        rejects.columns["detail"].append(reject.detail)
        rejects.columns["line"].append(block.lines[index])
        rejects.bytes += len(block.lines[index])


def _add_reviews(lines: list[bytes], columns: dict[str, list]) -> list[tuple[int, Reject]]:
    """As :func:`ml.data.records.read_review` on each line; nearly all of them pass a short test."""
    rejected = []
    loads = orjson.loads
    add_reviewer, add_asin = columns["reviewer_id"].append, columns["asin"].append
    add_overall, add_time = columns["overall"].append, columns["unix_review_time"].append
    add_verified, add_invalid = columns["verified"].append, columns["invalid_fields"].append
    for index, line in enumerate(lines):
        try:
            row = loads(line)
            reviewer, asin = row["reviewerID"], row["asin"]
            overall, time, verified = row["overall"], row["unixReviewTime"], row.get("verified")
            plain = (
                reviewer.isalnum()
                and asin.isalnum()
                and 1 <= overall <= 5
                and overall is not True
                and type(time) is int
                and 0 < time < END_OF_TIME
                and (verified is True or verified is False or verified is None)
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            plain = False
        invalid_fields = NO_FIELDS
        if not plain:
            review = read_review(line)
            if isinstance(review, Reject):
                rejected.append((index, review))
                continue
            reviewer, asin, overall, time, verified, invalid_fields = review
        add_reviewer(reviewer)
        add_asin(asin)
        add_overall(overall)
        add_time(time)
        add_verified(verified)
        add_invalid(invalid_fields)
    return rejected


def _add_metadata(lines: list[bytes], columns: dict[str, list]) -> list[tuple[int, Reject]]:
    rejected = []
    kept = []
    for index, line in enumerate(lines):
        item = read_metadata(line)
        if isinstance(item, Reject):
            rejected.append((index, item))
        else:
            kept.append(item)
    if kept:
        for name, values in zip(Metadata._fields, zip(*kept, strict=True), strict=True):
            columns[name].extend(values)
    return rejected


class _Table:
    """A Parquet file that grows by batches; columns come as Python lists or as numpy arrays."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema
        self._reset()

    def _reset(self) -> None:
        listed = {*Review._fields, *Metadata._fields, "reason", "detail", "line"}
        self.columns: dict[str, list] = {name: [] for name in self._schema.names if name in listed}
        self.arrays: dict[str, list[np.ndarray]] = {name: [] for name in self._schema.names if name not in listed}
        self._sources: list[tuple[str, int]] = []
        self.rows = 0
        self.bytes = 0

    def add_origin(self, source_file: str, line_numbers: np.ndarray) -> None:
        self._sources.append((source_file, len(line_numbers)))
        self.arrays["line_number"].append(line_numbers)
        self.rows += len(line_numbers)

    def flush(self) -> None:
        if self.rows == 0:
            return
        sources = [pa.repeat(name, count) for name, count in self._sources]
        arrays: dict[str, pa.Array] = {"source_file": pa.concat_arrays(sources)}
        for field in self._schema:
            if field.name in self.columns:
                arrays[field.name] = pa.array(self.columns[field.name], field.type)
            elif field.name in self.arrays and field.name != "source_file":
                arrays[field.name] = pa.array(np.concatenate(self.arrays[field.name]), field.type)
        self._writer.write_batch(pa.record_batch([arrays[name] for name in self._schema.names], self._schema))
        self._reset()


@contextmanager
def _table(path: Path, schema: pa.Schema) -> Iterator[_Table]:
    numbers = [name for name in ("line_number", "byte_offset") if name in schema.names]
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        # no two of these are equal, so a dictionary would only cost time
        use_dictionary=[name for name in schema.names if name not in (*numbers, "line_digest", "line")],
        column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
    ) as writer:
        table = _Table(writer, schema)
        yield table
        table.flush()
