"""Files of one source that hold the same lines, such as a file beside a compressed copy of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from xxhash import xxh3_64

from ml.data.landing.schema import FileCounts


def same_lines(counts: Sequence[FileCounts], rows: Mapping[str, Path]) -> dict[str, str]:
    """Files that hold the lines of an earlier one in the same order, however they are compressed.

    Args:
        counts: of each file, in their order.
        rows: by name of a file, the Parquet file with its landed rows; several files may share one.

    Returns:
        Name of the earlier file by the name of the later.
    """
    alike: dict[tuple[int, int, int], list[FileCounts]] = {}
    for file in counts:
        if file.rows_kept:
            alike.setdefault((file.lines_read, file.rows_kept, file.rows_rejected), []).append(file)
    found = {}
    for files in alike.values():
        if len(files) < 2 or len({file.sha256 for file in files}) < 2:
            # equal bytes are looked for elsewhere
            continue
        first: dict[str, str] = {}
        for file in files:
            earlier = first.setdefault(_digest(rows[file.source_file], file.source_file), file.source_file)
            if earlier != file.source_file:
                found[file.source_file] = earlier
    return found


def _digest(path: Path, source_file: str) -> str:
    """Digest of the digests of the lines of one file."""
    digest = xxh3_64()
    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(columns=["source_file", "line_digest"]):
            own = batch.filter(pc.equal(batch["source_file"], pa.scalar(source_file)))
            digest.update(own["line_digest"].to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()
