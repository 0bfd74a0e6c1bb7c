"""How the files of a dataset were read: layout, columns, separator, unit of time, order and warnings, in sentences.

Landing writes it down (``files.parquet``); the terminal, the Data Docs and the report show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SHOWN_COLUMNS = 8


@dataclass(frozen=True)
class FileRead:
    """The reading of one file.

    Attributes:
        kind: ``reviews`` or ``metadata``.
        name: of the file.
        layout: name of its layout.
        sentences: columns used and not used, separator, unit of time and order, a part each; only what is known.
        warnings: what to look at.
    """

    kind: str
    name: str
    layout: str
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]


def files_read(lake: Path) -> list[FileRead]:
    """The files that have landed, in the order in which the source names them; none where nothing has landed.

    Args:
        lake: the dataset's folder in the lake.
    """
    import pyarrow.parquet as pq

    found = []
    for kind in ("reviews", "metadata"):
        path = lake / "landing" / kind / "files.parquet"
        # a folder that an earlier version has landed does not say
        if path.is_file() and "columns_used" in pq.read_schema(path).names:
            found += [file_read(kind, record) for record in pq.read_table(path).to_pylist()]
    return found


def file_read(kind: str, record: Mapping[str, Any]) -> FileRead:
    """One row of ``files.parquet``."""
    columns = json.loads(record["columns_used"] or "{}")
    unused = record["unused_columns"] or []
    sentences = []
    if columns:
        sentences.append("columns: " + ", ".join(f"{role} = {name}" for role, name in columns.items()))
    if unused:
        more = f" and {len(unused) - _SHOWN_COLUMNS} more" if len(unused) > _SHOWN_COLUMNS else ""
        sentences.append(f"not used: {', '.join(unused[:_SHOWN_COLUMNS])}{more}")
    if record["separator"]:
        sentences.append(f"separator: {json.dumps(record['separator'])}")
    if record["time_unit"]:
        sentences.append(f"times: {record['time_unit']}")
    if record["ordered_by"] == "position":
        sentences.append(f"no times: the order of the lines counts (file {record['file_position']} of the source)")
    warnings = tuple((record["reading_warnings"] or "").splitlines())
    return FileRead(kind, record["source_file"], record["layout"], tuple(sentences), warnings)
