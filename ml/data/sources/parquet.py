"""Interactions as a Parquet file: the same rows as the same table as text gives (:mod:`ml.data.sources.table`).

Users and items are texts or whole numbers, which count as their digits. Timestamps are texts, numbers (both as in
:mod:`ml.data.sources.timestamps`), dates or times, in UTC where they have no zone. Ratings are numbers, or texts of
numbers; null and NaN are no rating. ``verified`` is a boolean, a number or a text. A row traces to the file by its
number, from 1; its digest is the xxh3_64 of the values of the columns that are read, and what a reject keeps is their
JSON. Read in batches, so that memory stays bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.landing.file_lines import LandingError, complaint
from ml.data.landing.schema import FileCounts, Sink, SourceFile
from ml.data.sources.keep import Keep
from ml.data.sources.parquet_rows import RowReader
from ml.data.sources.partitions import partition_columns, roles_with_folders
from ml.data.sources.rows import ROW_REASONS
from ml.data.sources.table_options import TableOptions

REASONS = ("invalid UTF-8", *ROW_REASONS)

ROWS_PER_BATCH = 1 << 15
_HASHED_BYTES = 1 << 20


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
    if options.names:
        raise LandingError(
            f"{file.path} is Parquet, which holds the names of its columns, and columns in the description of the "
            "source names them by position; leave that out, or name roles under [columns]"
        )
    reader = RowReader(file, options)
    # apart from the sink, which may have troubles of its own
    with _told(file.path):
        sha256, size = _hashed(file.path)
    folders = partition_columns(file.name)
    with closing(_batches(file.path, options, folders, reader)) as batches:
        for batch in batches:
            reader.read(batch, sink)
    # Spark writes parts without rows, and says nothing by them
    if reader.lines == 0 and "/" not in file.name:
        raise LandingError(f"{file.path} holds no row; write or download it again")
    kept = reader.rows - reader.rejected
    return FileCounts(
        file.name, size, sha256, reader.lines, reader.rows, kept, reader.rejected, reading=reader.reading(folders)
    )


def _batches(
    path: Path, options: TableOptions, folders: Mapping[str, str], reader: RowReader
) -> Generator[pa.RecordBatch, None, None]:
    """Batches of a file with the columns that the reader asks for, whether the file or its folders know them."""
    with _told(path), pq.ParquetFile(path) as parquet:
        in_file = parquet.schema_arrow.names
        places, names = roles_with_folders(path, in_file, options, folders)
        known = [*in_file, *(column for column in folders if column not in in_file)]
        keep = Keep(options.keep, known, f"{path}, its columns")
        asked = [*names.values(), *(known[place] for place in keep.places.values())]
        repeated = [name for name in asked if in_file.count(name) > 1]
        if repeated:
            raise LandingError(f"{path} has several columns of the name {repeated[0]!r}; rename them")
        reader.begin(in_file, names, keep)
        wanted = [*places.values(), *keep.places.values()]
        from_folders = dict.fromkeys(known[place] for place in wanted if place >= len(in_file))
        read = list(dict.fromkeys(known[place] for place in wanted if place < len(in_file)))
        for batch in parquet.iter_batches(ROWS_PER_BATCH, columns=read):
            for name in from_folders:
                batch = batch.append_column(name, pa.repeat(pa.scalar(folders[name] or None, pa.string()), len(batch)))
            yield batch


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
