"""A digest of what a Parquet file says, whatever it looks like on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

ROWS_PER_BATCH = 1 << 17


def parquet_digest(path: Path) -> str:
    """Digest of a table's column names, types and values in their order, in hexadecimal.

    Independent of compression, encoding (dictionaries too), row groups and the file's own metadata. Columns may hold
    numbers, booleans, dates and times, strings, binary, and lists of these. Reads the file in batches.

    Raises:
        TypeError: a column of another type.
    """
    with pq.ParquetFile(path) as file:
        digest = TableDigest(file.schema_arrow)
        for batch in file.iter_batches(ROWS_PER_BATCH):
            digest.add(batch)
    return digest.hexdigest()


class TableDigest:
    """The digest of :func:`parquet_digest`, of a table that comes in batches.

    Args:
        schema: the table's columns.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._columns = [_ColumnDigest() for _ in schema]
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in the next rows; ``TypeError`` for a column of a type that has no digest."""
        self._rows += batch.num_rows
        for column, values in zip(self._columns, batch.columns, strict=True):
            column.add(values)

    def hexdigest(self) -> str:
        """Digest of all rows so far."""
        whole = hashlib.sha256(f"parquet_digest 1 {self._rows}".encode())
        for field, column in zip(self._schema, self._columns, strict=True):
            whole.update(f"\n{field.name}\n{_type_name(field.type)}\n{column.hexdigest()}".encode())
        return whole.hexdigest()


class _ColumnDigest:
    """Values, lengths and nulls go into streams of their own: then no cut between batches can show."""

    def __init__(self) -> None:
        self._valid = xxhash.xxh3_128()
        self._lengths = xxhash.xxh3_128()
        self._values = xxhash.xxh3_128()
        self._elements: _ColumnDigest | None = None

    def add(self, array: pa.Array) -> None:
        if pa.types.is_dictionary(array.type):
            # how often a value is written down is encoding
            array = array.dictionary_decode()
        self._valid.update(_bytes(pc.is_valid(array).cast(pa.uint8())))
        if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            self._lengths.update(_bytes(pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())))
            self._elements = self._elements or _ColumnDigest()
            self._elements.add(array.flatten())
        elif pa.types.is_string(array.type) or pa.types.is_binary(array.type):
            # what lies under a null is not content
            array = pc.fill_null(array, b"" if pa.types.is_binary(array.type) else "")
            self._lengths.update(_bytes(pc.binary_length(array).cast(pa.int64())))
            _, offsets, values = array.buffers()
            if len(array) and values is not None:
                ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
                self._values.update(memoryview(values)[ends[0] : ends[-1]])
        elif pa.types.is_boolean(array.type):
            self._values.update(_bytes(pc.fill_null(array, False).cast(pa.uint8())))
        elif pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
            self._values.update(_bytes(pc.fill_null(array, 0)))
        elif pa.types.is_temporal(array.type):
            integer = pa.int32() if array.type.bit_width == 32 else pa.int64()
            self._values.update(_bytes(pc.fill_null(array.cast(integer), 0)))
        else:
            raise TypeError(f"there is no digest of columns of type {array.type}")

    def hexdigest(self) -> str:
        parts = [self._valid.hexdigest(), self._lengths.hexdigest(), self._values.hexdigest()]
        return " ".join(parts + ([f"[{self._elements.hexdigest()}]"] if self._elements else []))


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return str(kind.value_type)
    # what a list calls its elements is "item" in memory and "element" in a Parquet file
    return f"list<element: {kind.value_type}>" if pa.types.is_list(kind) else str(kind)


def _bytes(array: pa.Array) -> memoryview:
    return memoryview(array.to_numpy(zero_copy_only=False)).cast("B") if len(array) else memoryview(b"")
