"""Landing of files that are made of lines.

Every line is a row, a reject, part of a record that began on an earlier line, or neither: a blank line, or one that
names columns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from ml.data.landing.file_lines import Block, FileLines, LandingError, RefusedLine, complaint
from ml.data.landing.processes import is_worker, results_in_order
from ml.data.landing.schema import (
    ORIGIN,
    REJECTS_SCHEMA,
    Added,
    FileCounts,
    FileReading,
    LineReader,
    Reject,
    Sink,
    SourceFile,
    WholeRecords,
)
from ml.limits import processors

ROWS_PER_BATCH = 1 << 16
# of the text: long lines make smaller batches, so that memory stays bounded
BYTES_PER_BATCH = 2 << 20
# A file of fewer bytes is parsed before processes have started.
LEAST_BYTES_FOR_PROCESSES = 48 << 20
# More of them wait for what is decompressed.
PROCESSES_PER_FILE = 2
# A record of several lines that is longer than this is not waited for: its first line is a reject.
LONGEST_RECORD_BYTES = 1 << 20
BLANK_LINE = "blank line"
# One line of so many is looked at to see whether many are blank; to search every block costs a tenth of landing.
_SAMPLED_LINES = 64
_SHARE_OF_BLANK_LINES = 1 / 8

_ORIGIN_NAMES = frozenset(name for name, _ in ORIGIN)


def read_lines(
    files: tuple[SourceFile, ...], sink: Sink, make_reader: Callable[[], LineReader], schema: pa.Schema
) -> list[FileCounts]:
    """Read files of lines, gzip or plain, into a sink: what a :class:`ml.data.landing.schema.Unit` of lines does.

    Bound to a reader and a schema with :func:`functools.partial`, it is the ``read`` of a unit.

    Args:
        files: in the order in which they are read.
        sink: takes rows with the columns of ``schema``, and rejects. A reject holds the line's bytes (the start
            of one longer than 16 MiB) and its place in the decompressed stream. Beyond the reader's own reasons
            there are ``line too long`` and ``cut short``, the latter for what there is of the line at which a
            gzip stream breaks off.
        make_reader: makes the reader of one file; called once a file.
        schema: columns of the rows, :data:`ml.data.landing.schema.ORIGIN` first.

    Returns:
        The counts of each file, in their order; ``problem`` says where a gzip stream breaks off.

    Raises:
        LandingError: a file that cannot be read at all (see :class:`ml.data.landing.file_lines.FileLines`).
        RuntimeError: the reader's columns do not fit to what it says of the lines.
    """
    return [_read_file(file, sink, make_reader, schema) for file in files]


def _read_file(file: SourceFile, sink: Sink, make_reader: Callable[[], LineReader], schema: pa.Schema) -> FileCounts:
    lines = FileLines(file.path)
    reader = make_reader()
    rows_kept = rows_rejected = 0
    with (
        closing(iter(lines)) as blocks,
        closing(_parsed(file, _pieces(blocks), reader, make_reader, schema)) as parsed,
    ):
        for rows, rejects in parsed:
            rows_kept += rows.num_rows
            sink.rows(rows)
            if rejects is not None:
                rows_rejected += rejects.num_rows
                sink.rejects(rejects)
    if rows_kept + rows_rejected + getattr(reader, "left_out", 0) == 0:
        raise LandingError(
            f"{file.path} holds no row, only blank lines or names of columns; write or download it again"
        )
    return FileCounts(
        source_file=file.name,
        bytes=lines.bytes,
        sha256=lines.sha256,
        lines_read=lines.lines_read,
        rows_read=rows_kept + rows_rejected,
        rows_kept=rows_kept,
        rows_rejected=rows_rejected,
        problem=f"{file.name} {lines.problem}" if lines.problem else None,
        reading=_reading(reader),
    )


def _reading(reader: LineReader) -> FileReading | None:
    describe = getattr(reader, "reading", None)
    return describe() if describe else None


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
    file: SourceFile,
    pieces: Iterator[list[Block]],
    reader: LineReader,
    make_reader: Callable[[], LineReader],
    schema: pa.Schema,
) -> Generator[_Parsed, None, None]:
    """Rows and rejects of each piece in turn; of a large file parsed in processes, while this one decompresses."""
    # on two processors this one, which decompresses and writes, leaves too little for others
    processes = PROCESSES_PER_FILE if processors() > PROCESSES_PER_FILE else 1
    is_large = _size(file) >= LEAST_BYTES_FOR_PROCESSES
    if processes > 1 and is_large and getattr(reader, "reads_each_line_alone", False) and not is_worker():
        jobs = (partial(_parse_anew, piece, file.name, make_reader, schema) for piece in pieces)
        yield from results_in_order(jobs, processes)
        return
    parser = _Parser(file.name, reader, schema)
    for piece in pieces:
        yield parser.parse(piece)
    if parser.holds_lines:
        yield parser.finish()


def _size(file: SourceFile) -> int:
    try:
        return os.path.getsize(file.path)
    except OSError as error:
        # gone since it was found
        raise LandingError(complaint(file.path, error)) from error


def _parse_anew(
    piece: list[Block], source_file: str, make_reader: Callable[[], LineReader], schema: pa.Schema
) -> _Parsed:
    return _Parser(source_file, make_reader(), schema).parse(piece)


class _Parser:
    """Reads the blocks of one file in turn, and keeps back the lines of a record that does not end in its block."""

    def __init__(self, source_file: str, reader: LineReader, schema: pa.Schema) -> None:
        self._reader = reader
        self._rows = _Rows(source_file, schema, getattr(reader, "constants", {}))
        self._rejects = _Rejects(source_file)
        self._held: Block | None = None

    @property
    def holds_lines(self) -> bool:
        return self._held is not None

    def parse(self, piece: list[Block]) -> _Parsed:
        """Rows and rejects of some blocks."""
        for block in piece:
            is_whole = block.long_line_bytes is None and not block.cut_short
            held, self._held = self._held, None
            if held is not None and is_whole:
                block = Block(held.first_line_number, held.first_byte_offset, held.raw + block.raw)
            elif held is not None:
                self._read(held)
            if is_whole and isinstance(self._reader, WholeRecords):
                self._read_whole_records(block, self._reader)
            else:
                self._read(block)
        return self._rows.take(), self._rejects.take() if self._rejects.count else None

    def finish(self) -> _Parsed:
        """Rows and rejects of the lines that were kept back, at the end of the file."""
        held, self._held = self._held, None
        if held is not None:
            self._read(held)
        return self.parse([])

    def _read_whole_records(self, block: Block, reader: WholeRecords) -> None:
        if block.raw.isspace():
            return
        try:
            added, used = reader.add_whole_records(block.lines, self._rows.columns)
        except RefusedLine as error:
            raise error.numbered(block.first_line_number) from error
        if used == len(block.lines):
            self._take(block, added)
            return
        end = int(block.byte_offsets()[used]) - block.first_byte_offset
        if used:
            self._take(Block(block.first_line_number, block.first_byte_offset, block.raw[:end]), added)
        rest = Block(block.first_line_number + used, block.first_byte_offset + end, block.raw[end:])
        if len(rest.raw) <= LONGEST_RECORD_BYTES:
            self._held = rest
        else:
            self._read(rest)

    def _read(self, block: Block) -> None:
        if block.raw.isspace() and not block.cut_short and block.long_line_bytes is None:
            return
        try:
            added = _added(block, self._reader, self._rows.columns)
        except RefusedLine as error:
            raise error.numbered(block.first_line_number) from error
        self._take(block, added)

    def _take(self, block: Block, added: Added) -> None:
        added = _without_blank_rejects(added)
        self._rows.add_origin(block, added)
        self._rejects.add(block, added)


def _added(block: Block, reader: LineReader, columns: dict[str, list]) -> Added:
    if block.cut_short:
        return Added([(0, Reject("cut short", f"{block.long_line_bytes or len(block.raw):,} bytes of the line"))])
    if block.long_line_bytes is not None:
        shown = f"{block.long_line_bytes:,} bytes; the first {len(block.raw):,} are kept"
        return Added([(0, Reject("line too long", shown))])
    if hasattr(reader, "add_whole_records") or not _many_are_blank(block.lines):
        return reader.add(block.lines, columns)
    indices = [index for index, line in enumerate(block.lines) if line and not line.isspace()]
    return _spread(reader.add([block.lines[index] for index in indices], columns), indices, len(block.lines))


def _many_are_blank(lines: list[bytes]) -> bool:
    """Whether so many lines are blank, by a sample, that a reader would lose time with them."""
    sample = lines[::_SAMPLED_LINES]
    return _SHARE_OF_BLANK_LINES * len(sample) < sum(not line or line.isspace() for line in sample)


def _without_blank_rejects(added: Added) -> Added:
    """The same, with the lines that a reader rejects as blank skipped."""
    blank = [index for index, reject in added.rejected if reject.reason == BLANK_LINE]
    if not blank:
        return added
    rejected = [(index, reject) for index, reject in added.rejected if reject.reason != BLANK_LINE]
    return replace(added, rejected=rejected, skipped=[*added.skipped, *blank])


def _spread(added: Added, indices: list[int], count: int) -> Added:
    """Outcomes of the lines at some indices, spread over all ``count`` lines; the others are skipped."""
    skipped = np.ones(count, dtype=bool)
    skipped[indices] = False
    rows_per_line = None
    if added.rows_per_line is not None:
        rows_per_line = np.zeros(count, dtype=np.int64)
        rows_per_line[indices] = added.rows_per_line
    return Added(
        rejected=[(indices[index], reject) for index, reject in added.rejected],
        skipped=[*(indices[index] for index in added.skipped), *np.flatnonzero(skipped).tolist()],
        rows_per_line=rows_per_line,
    )


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
        # never empty, so that a piece without a row is an empty batch
        self._line_numbers = [np.empty(0, np.int64)]
        self._line_digests = [np.empty(0, np.uint64)]
        self.count = 0

    def add_origin(self, block: Block, added: Added) -> int:
        """Number the rows that a reader has added for a block; how many they are."""
        count = len(block.lines)
        numbers = np.arange(block.first_line_number, block.first_line_number + count)
        digests = np.fromiter(map(xxh3_64_intdigest, block.lines), dtype=np.uint64, count=count)
        for index, length in added.spans.items():
            digests[index] = xxh3_64_intdigest(b"\n".join(block.lines[index : index + length]))
        if added.rows_per_line is not None:
            numbers = np.repeat(numbers, added.rows_per_line)
            digests = np.repeat(digests, added.rows_per_line)
        elif added.rejected or len(added.skipped):
            is_row = np.ones(count, dtype=bool)
            is_row[[*(index for index, _ in added.rejected), *added.skipped]] = False
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

    def add(self, block: Block, added: Added) -> None:
        if not added.rejected:
            return
        offsets = block.byte_offsets()
        for index, reject in added.rejected:
            line = b"\n".join(block.lines[index : index + added.spans.get(index, 1)])
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
