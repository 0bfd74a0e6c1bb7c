"""How the files of a dataset were read, for the terminal and the Data Docs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.paths import DatasetPaths

_SHOWN_COLUMNS = 8


@dataclass(frozen=True)
class FileRead:
    """How one file was read.

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


def files_read(paths: DatasetPaths) -> list[FileRead]:
    """The files that have landed, in the order in which the source names them; none where nothing has landed."""
    import pyarrow.parquet as pq

    found = []
    for kind in ("reviews", "metadata"):
        path = paths.asset("landing", kind) / "files.parquet"
        # a folder that an earlier version has landed says nothing of it
        if path.is_file() and "columns_used" in pq.read_schema(path).names:
            found += [file_read(kind, file) for file in pq.read_table(path).to_pylist()]
    return found


def to_text(files: list[FileRead]) -> str:
    """A few lines a file."""
    lines = []
    for file in files:
        lines.append(f"{file.name} ({file.kind}, {file.layout})")
        lines += [f"  {sentence}" for sentence in file.sentences]
        lines += [f"  warning: {warning}" for warning in file.warnings]
    return "\n".join(lines)


def file_read(kind: str, file: dict) -> FileRead:
    columns = json.loads(file["columns_used"] or "{}")
    unused = file["unused_columns"] or []
    sentences = []
    if columns:
        sentences.append("columns: " + ", ".join(f"{role} = {name}" for role, name in columns.items()))
    if unused:
        more = f" and {len(unused) - _SHOWN_COLUMNS} more" if len(unused) > _SHOWN_COLUMNS else ""
        sentences.append(f"not used: {', '.join(unused[:_SHOWN_COLUMNS])}{more}")
    if file["separator"]:
        sentences.append(f"separator: {json.dumps(file['separator'])}")
    if file["time_unit"]:
        sentences.append(f"times: {file['time_unit']}")
    if file["ordered_by"] == "position":
        sentences.append(f"no times: the order of the lines counts (file {file['file_position']} of the source)")
    warnings = tuple((file["reading_warnings"] or "").splitlines())
    return FileRead(kind, file["source_file"], file["layout"], tuple(sentences), warnings)
