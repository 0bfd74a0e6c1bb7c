"""Landing of files that are made of lines: every line is a row, a reject, or names columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from ml.data.lines import Block, FileLines
from ml.data.reading import ORIGIN, REJECTS_SCHEMA, Added, FileCounts, LineReader, Reject, Sink, SourceFile

ROWS_PER_BATCH = 1 << 16
# of the text: long lines make smaller batches, so that memory stays bounded
BYTES_PER_BATCH = 64 << 20

_ORIGIN_NAMES = frozenset(name for name, _ in ORIGIN)


def read_lines(
    files: tuple[SourceFile, ...], sink: Sink, make_reader: Callable[[], LineReader], schema: pa.Schema
) -> list[FileCounts]:
    """Read files of lines, gzip or plain, into a sink: what a :class:`ml.data.reading.Unit` of lines does.

    Bound to a reader and a schema with :func:`functools.partial`, it is the ``read`` of a unit.

    Args:
        files: in the order in which they are read.
        sink: takes rows with the columns of ``schema``, and rejects. A reject holds the line's bytes (the start
            of one longer than 16 MiB) and its place in the decompressed stream. Beyond the reader's own reasons
            there are ``line too long`` and ``cut short``, the latter for what there is of the line at which a
            gzip stream breaks off.
        make_reader: makes the reader of one file; called once a file.
        schema: columns of the rows, :data:`ml.data.reading.ORIGIN` first.

    Returns:
        The counts of each file, in their order; ``problem`` says where a gzip stream breaks off.

    Raises:
        LandingError: a file that cannot be read at all (see :class:`ml.data.lines.FileLines`).
        RuntimeError: the reader's columns do not fit to what it says of the lines.
    """
    return [_read_file(file, sink, make_reader(), schema) for file in files]


def _read_file(file: SourceFile, sink: Sink, reader: LineReader, schema: pa.Schema) -> FileCounts:
    lines = FileLines(file.path)
    rows = _Rows(file.name, schema, getattr(reader, "constants", {}))
    rejects = _Rejects(file.name)
    rows_kept = rows_rejected = 0
    with closing(iter(lines)) as blocks:
        for block in blocks:
            added = _added(block, reader, rows.columns)
            rows_kept += rows.add_origin(block, added)
            rejects.add(block, added.rejected)
            rows_rejected += len(added.rejected)
            for batch, give in ((rows, sink.rows), (rejects, sink.rejects)):
                if batch.count and (batch.count >= ROWS_PER_BATCH or batch.bytes >= BYTES_PER_BATCH):
                    give(batch.take())
    for batch, give in ((rows, sink.rows), (rejects, sink.rejects)):
        if batch.count:
            give(batch.take())
    return FileCounts(
        source_file=file.name,
        bytes=lines.bytes,
        sha256=lines.sha256,
        lines_read=lines.lines_read,
        rows_read=rows_kept + rows_rejected,
        rows_kept=rows_kept,
        rows_rejected=rows_rejected,
        problem=f"{file.name} {lines.problem}" if lines.problem else None,
    )


def _added(block: Block, reader: LineReader, columns: dict[str, list]) -> Added:
    if block.cut_short:
        return Added([(0, Reject("cut short", f"{block.long_line_bytes or len(block.raw):,} bytes of the line"))])
    if block.long_line_bytes is not None:
        shown = f"{block.long_line_bytes:,} bytes; the first {len(block.raw):,} are kept"
        return Added([(0, Reject("line too long", shown))])
    return reader.add(block.lines, columns)


class _Rows:
    """Rows of one file on their way to a batch: columns as lists, the origin as arrays."""

    def __init__(self, source_file: str, schema: pa.Schema, constants: dict[str, object]) -> None:
        self._source_file = source_file
        self._schema = schema
        self._constants = constants
        # The same lists for the whole file: a reader may keep hold of them.
        self.columns: dict[str, list] = {name: [] for name in schema.names if name not in _ORIGIN_NAMES}
        self._grown = [(name, column) for name, column in self.columns.items() if name not in constants]
        self._reset()

    def _reset(self) -> None:
        for column in self.columns.values():
            column.clear()
        self._line_numbers: list[np.ndarray] = []
        self._line_digests: list[np.ndarray] = []
        self.count = 0
        self.bytes = 0

    def add_origin(self, block: Block, added: Added) -> int:
        """Number the rows that a reader has added for a block; how many they are."""
        count = len(block.lines)
        numbers = np.arange(block.first_line_number, block.first_line_number + count)
        digests = np.fromiter(map(xxh3_64_intdigest, block.lines), dtype=np.uint64, count=count)
        if added.rows_per_line is not None:
            numbers = np.repeat(numbers, added.rows_per_line)
            digests = np.repeat(digests, added.rows_per_line)
        elif added.rejected or added.headers:
            is_row = np.ones(count, dtype=bool)
            is_row[[*(index for index, _ in added.rejected), *added.headers]] = False
            numbers, digests = numbers[is_row], digests[is_row]
        self._line_numbers.append(numbers)
        self._line_digests.append(digests)
        self.count += len(numbers)
        self.bytes += len(block.raw)
        for name, column in self._grown:
            if len(column) != self.count:
                raise RuntimeError(
                    f"{self._source_file}: the reader gave {len(column):,} values of {name} for {self.count:,} rows, "
                    f"up to line {block.first_line_number + count - 1:,}"
                )
        return len(numbers)

    def take(self) -> pa.RecordBatch:
        """The rows so far as a batch; none are left."""
        arrays = {
            "source_file": pa.repeat(self._source_file, self.count),
            "line_number": pa.array(np.concatenate(self._line_numbers)),
            "line_digest": pa.array(np.concatenate(self._line_digests)),
        }
        for name, column in self.columns.items():
            field = self._schema.field(name)
            if name in self._constants:
                arrays[name] = pa.repeat(pa.scalar(self._constants[name], field.type), self.count)
            else:
                arrays[name] = _array(column, field.type)
        batch = pa.record_batch([arrays[name] for name in self._schema.names], self._schema)
        self._reset()
        return batch


class _Rejects:
    """Rejects of one file on their way to a batch."""

    def __init__(self, source_file: str) -> None:
        self._source_file = source_file
        self._reset()

    def _reset(self) -> None:
        self._values: list[tuple[int, int, str, str, bytes]] = []
        self.count = 0
        self.bytes = 0

    def add(self, block: Block, rejected: Iterable[tuple[int, Reject]]) -> None:
        if not rejected:
            return
        offsets = block.byte_offsets()
        for index, reject in rejected:
            line = block.lines[index]
            number, offset = block.first_line_number + index, int(offsets[index])
            self._values.append((number, offset, reject.reason, reject.detail, line))
            self.bytes += len(line)
        self.count = len(self._values)

    def take(self) -> pa.RecordBatch:
        """The rejects so far as a batch; none are left."""
        columns = [pa.repeat(self._source_file, self.count)]
        types = REJECTS_SCHEMA.types[1:]
        columns += [pa.array(values, type) for values, type in zip(zip(*self._values, strict=True), types, strict=True)]
        batch = pa.record_batch(columns, REJECTS_SCHEMA)
        self._reset()
        return batch


def _array(values: list, kind: pa.DataType) -> pa.Array:
    # mostly there is nothing in any of them (invalid fields), and to see that is quicker than to convert them
    if pa.types.is_list(kind) and None not in values and not any(values):
        return pa.ListArray.from_arrays(np.zeros(len(values) + 1, np.int32), pa.array([], kind.value_type), kind)
    return pa.array(values, kind)
