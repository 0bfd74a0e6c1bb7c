"""The reading of the files of a dataset, for the terminal and the Data Docs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml.data.landing.files_read import FileRead
    from orchestration.paths import DatasetPaths


def files_read(paths: DatasetPaths) -> list[FileRead]:
    """The files that have landed, in the order in which the source names them; none where nothing has landed."""
    from ml.data.landing import files_read as library

    return library.files_read(paths.lake)


def to_text(files: list[FileRead]) -> str:
    """A few lines a file."""
    lines = []
    for file in files:
        lines.append(f"{file.name} ({file.kind}, {file.layout})")
        lines += [f"  {sentence}" for sentence in file.sentences]
        lines += [f"  warning: {warning}" for warning in file.warnings]
    return "\n".join(lines)
