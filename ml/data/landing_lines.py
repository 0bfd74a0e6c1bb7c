"""Landing of files that are made of lines: every line is a row, a reject, or names columns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from ml.data.landing_workers import is_worker, processors, results_in_order
from ml.data.lines import Block, FileLines
from ml.data.reading import ORIGIN, REJECTS_SCHEMA, Added, FileCounts, LineReader, Reject, Sink, SourceFile

ROWS_PER_BATCH = 1 << 16
# of the text: long lines make smaller batches, so that memory stays bounded
BYTES_PER_BATCH = 2 << 20
# A file of fewer bytes is parsed before processes have started.
LEAST_BYTES_FOR_PROCESSES = 48 << 20
# More of them wait for what is decompressed.
PROCESSES_A_FILE = 2

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
    return [_read_file(file, sink, make_reader, schema) for file in files]


def _read_file(file: SourceFile, sink: Sink, make_reader: Callable[[], LineReader], schema: pa.Schema) -> FileCounts:
    lines = FileLines(file.path)
    rows_kept = rows_rejected = 0
    with (
        closing(iter(lines)) as blocks,
        closing(_parsed(file, _pieces(blocks), make_reader, schema)) as parsed,
    ):
        for rows, rejects in parsed:
            rows_kept += rows.num_rows
            sink.rows(rows)
            if rejects is not None:
                rows_rejected += rejects.num_rows
                sink.rejects(rejects)
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


def _pieces(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Consecutive blocks in portions that do not depend on who parses them."""
    piece: list[Block] = []
    lines = text_bytes = 0
    for block in blocks:
        piece.append(block)
        lines += block.raw.count(b"\n") + 1
        text_bytes += len(block.raw)
        if lines >= ROWS_PER_BATCH or text_bytes >= BYTES_PER_BATCH:
            yield piece
            piece, lines, text_bytes = [], 0, 0
    if piece:
        yield piece


_Parsed = tuple[pa.RecordBatch, pa.RecordBatch | None]


def _parsed(
    file: SourceFile, pieces: Iterator[list[Block]], make_reader: Callable[[], LineReader], schema: pa.Schema
) -> Iterator[_Parsed]:
    """Rows and rejects of each piece in turn; of a large file parsed in processes, while this one decompresses."""
    reader = make_reader()
    # on two processors this one, which decompresses and writes, leaves too little for others
    processes = PROCESSES_A_FILE if processors() > PROCESSES_A_FILE else 1
    is_large = os.path.getsize(file.path) >= LEAST_BYTES_FOR_PROCESSES
    if processes > 1 and is_large and getattr(reader, "reads_each_line_alone", False) and not is_worker():
        jobs = (partial(_parse_anew, piece, file.name, make_reader, schema) for piece in pieces)
        yield from results_in_order(jobs, processes)
        return
    rows, rejects = _Rows(file.name, schema, getattr(reader, "constants", {})), _Rejects(file.name)
    for piece in pieces:
        yield _parse(piece, reader, rows, rejects)


def _parse_anew(
    piece: list[Block], source_file: str, make_reader: Callable[[], LineReader], schema: pa.Schema
) -> _Parsed:
    reader = make_reader()
    return _parse(piece, reader, _Rows(source_file, schema, getattr(reader, "constants", {})), _Rejects(source_file))


def _parse(piece: list[Block], reader: LineReader, rows: _Rows, rejects: _Rejects) -> _Parsed:
    for block in piece:
        added = _added(block, reader, rows.columns)
        rows.add_origin(block, added)
        rejects.add(block, added.rejected)
    return rows.take(), rejects.take() if rejects.count else None


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

    def add(self, block: Block, rejected: Iterable[tuple[int, Reject]]) -> None:
        if not rejected:
            return
        offsets = block.byte_offsets()
        for index, reject in rejected:
            line = block.lines[index]
            number, offset = block.first_line_number + index, int(offsets[index])
            self._values.append((number, offset, reject.reason, reject.detail, line))
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
