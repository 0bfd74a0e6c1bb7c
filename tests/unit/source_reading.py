"""What the tests of sources share: reading a unit into memory."""

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from ml.data.landing.schema import REJECTS_SCHEMA, FileCounts, Unit
from ml.data.sources import SourceDescription, find_source


@dataclass
class Memory:
    """A sink that keeps everything."""

    row_batches: list[pa.RecordBatch] = field(default_factory=list)
    reject_batches: list[pa.RecordBatch] = field(default_factory=list)

    def rows(self, batch: pa.RecordBatch) -> None:
        self.row_batches.append(batch)

    def rejects(self, batch: pa.RecordBatch) -> None:
        assert batch.schema.equals(REJECTS_SCHEMA)
        self.reject_batches.append(batch)


@dataclass
class Read:
    """Rows and rejects as dictionaries, and the counts of each file."""

    rows: list[dict]
    rejects: list[dict]
    counts: list[FileCounts]

    def values(self, *names: str) -> list[tuple]:
        return [tuple(row[name] for name in names) for row in self.rows]

    def reasons(self) -> list[tuple[int, str]]:
        return [(reject["line_number"], reject["reason"]) for reject in self.rejects]


def read(unit: Unit, schema: pa.Schema) -> Read:
    sink = Memory()
    counts = unit.read(unit.files, sink)
    for batch in sink.row_batches:
        assert batch.schema.equals(schema)
    rows = [row for batch in sink.row_batches for row in batch.to_pylist()]
    rejects = [row for batch in sink.reject_batches for row in batch.to_pylist()]
    for file in counts:
        assert file.rows_read == file.rows_kept + file.rows_rejected + file.rows_repeated
    assert sum(file.rows_kept for file in counts) == len(rows)
    assert sum(file.rows_rejected for file in counts) == len(rejects)
    return Read(rows, rejects, counts)


def read_source(folder: Path, dataset: str, schema: pa.Schema, description: SourceDescription | None = None) -> Read:
    """The interactions of a source of one unit."""
    (unit,) = find_source(folder, dataset, description).interactions
    return read(unit, schema)
