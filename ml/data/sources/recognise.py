"""Finding the files of a dataset in a folder, and how they are laid out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ml.data.sources.description import FILE_NAME, SourceDescription, described_in
from ml.data.sources.names import (
    CORE,
    METADATA_PREFIX,
    dataset_of,
    interaction_names,
    json_names,
    looked_for,
    without_compression,
)
from ml.data.sources.not_read import not_read
from ml.data.sources.patterns import is_file_or_parts, matched_files, parts_or_file
from ml.data.sources.table_options import TableOptions

if TYPE_CHECKING:
    from ml.data.landing.schema import LineReader, SourceFile, Unit

_DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_LONGEST_NAME = 200
_SPLIT = "given_split"
_SHOWN_NAMES = 20
_PACKED = (".zip", ".tar", ".tgz", ".tar.gz", ".bz2", ".xz", ".7z", ".rar", ".lz4", ".br", ".z", ".snappy", ".sz")


@dataclass(frozen=True)
class NamedSource:
    """The files of a dataset, by their names and by ``source.toml`` alone; nothing else in them was looked at.

    Attributes:
        folder: whose names they are.
        dataset: its name.
        layout: one of :data:`ml.data.sources.LAYOUTS`; what is in a file may say another release.
        interactions: names of its files of interactions, relative to the folder.
        metadata: names of its files of metadata.
        description: what the user says of the source.
    """

    folder: Path
    dataset: str
    layout: str
    interactions: tuple[str, ...]
    metadata: tuple[str, ...]
    description: SourceDescription | None = None

    @property
    def options(self) -> TableOptions:
        """What is said of a table."""
        return self.description.table if self.description else TableOptions()

    @property
    def item_text(self) -> str | None:
        """Template of the text of an item, or ``None``."""
        return self.description.item_text if self.description else None

    def notes(self, layout: str) -> tuple[str, ...]:
        """What the user should know of files that are not read, a sentence each; the layout is named in them."""
        read = {"metadata": self.metadata, "interactions": self.interactions}
        named = {kind for kind in read if self.description is not None and getattr(self.description, kind)}
        if layout == _SPLIT:
            named.add("interactions")
        return not_read(self.folder, self.dataset, layout, read, named, datasets_in)


@dataclass(frozen=True)
class Source:
    """The files of a dataset, ready to be read.

    Attributes:
        layout: one of :data:`ml.data.sources.LAYOUTS`.
        interactions: units whose rows have the columns of :data:`ml.data.landing.schema.INTERACTIONS_SCHEMA`.
        metadata: units whose rows have those of :data:`ml.data.landing.schema.METADATA_SCHEMA`; may be empty.
        options: what is said of a table.
        notes: what the user should know of files that are not read, a sentence each.
        item_text: template of the text of an item, or ``None``.
    """

    layout: str
    interactions: tuple[Unit, ...]
    metadata: tuple[Unit, ...]
    options: TableOptions = field(default_factory=TableOptions)
    notes: tuple[str, ...] = ()
    item_text: str | None = None

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All files, those of the interactions first."""
        return tuple(file for unit in (*self.interactions, *self.metadata) for file in unit.files)


def find_source(folder: Path, dataset: str, description: SourceDescription | None = None) -> Source:
    """The files of a dataset in a folder, and how they are to be read.

    Args:
        folder: where the files lie.
        dataset: its name, of letters, digits, ``_`` and ``-``.
        description: what the user says of the source.

    Raises:
        LandingError: as :func:`name_source`; a file holds something else.
    """
    return source_of(name_source(folder, dataset, description))


def name_source(folder: Path, dataset: str, description: SourceDescription | None = None) -> NamedSource:
    """The names of the files of a dataset in a folder.

    Asked, in this order, are: the description that is given; that in ``source.toml`` of the folder; files that are
    named after the dataset; a split made elsewhere, which a folder holds one of, under any name of a dataset.

    Args:
        folder: where the files lie.
        dataset: its name, of letters, digits, ``_`` and ``-``.
        description: what the user says of the source.

    Raises:
        LandingError: the name cannot be one of a dataset; the folder or a file that is named does not exist; nothing is
            recognised, or several layouts are; the description is not possible.
    """
    from ml.data.landing.file_lines import LandingError

    is_name = _DATASET_NAME.fullmatch(dataset) and len(dataset) <= _LONGEST_NAME
    if not is_name or dataset.startswith(METADATA_PREFIX):
        raise LandingError(
            f"{dataset[:_LONGEST_NAME]!r} cannot be the name of a dataset: give the name of its files without what is "
            f"behind the first dot, of letters, digits, '_' and '-', without {METADATA_PREFIX!r} in front"
        )
    if not folder.is_dir():
        raise LandingError(f"{folder} is not a folder; make it, and put the files of {dataset} there")
    description = description or described_in(folder)
    if description is not None:
        return _described(folder, dataset, description)
    found = _named_after(folder, dataset)
    if len(found) > 1:
        raise LandingError(_several(folder, found))
    if found:
        ((layout, name),) = found
        return _names(folder, dataset, layout, parts_or_file(folder, name))
    from ml.data.sources.given_split import split_files

    files, missing = split_files(folder)
    if files and not missing:
        return _names(folder, dataset, _SPLIT)
    raise LandingError(_nothing(folder, dataset, bool(files), missing))


def datasets_in(folder: Path) -> list[str]:
    """Names of the datasets that can be recognised in a folder, in order; no folder, no names.

    A split made elsewhere, and files that ``source.toml`` names, go by the name of the folder. Files with names that
    cannot be those of a dataset are passed over.
    """
    if not folder.is_dir():
        return []
    names = {dataset_of(path.name) for path in folder.iterdir() if is_file_or_parts(folder, path.name)}
    own_name = folder.resolve().name
    description = described_in(folder)
    if description is not None:
        if description.interactions or description.layout == _SPLIT:
            names = {own_name}
    else:
        from ml.data.sources.given_split import split_files

        files, missing = split_files(folder)
        if files and not missing:
            names.add(own_name)
    return sorted(name for name in names if name and _DATASET_NAME.fullmatch(name))


def _named_after(folder: Path, dataset: str) -> list[tuple[str, str]]:
    """Layout and name of each file with interactions of a dataset."""
    return [(layout, name) for layout, name in interaction_names(dataset) if is_file_or_parts(folder, name)]


def _described(folder: Path, dataset: str, description: SourceDescription) -> NamedSource:
    from ml.data.landing.file_lines import LandingError

    layout = description.layout
    names = _matched(folder, description, description.interactions)
    for name in (*names, *_matched(folder, description, description.metadata)):
        if not (folder / name).is_file():
            raise LandingError(
                f"{description.origin} names {name}, which is not in {folder}; put it there, or correct the name"
            )
    if not names and layout != _SPLIT:
        named = _named_after(folder, dataset)
        found = [name for known, name in named if known == layout]
        if layout == "json_lines":
            found = [name for name in json_names(dataset) if (folder / name).is_file()]
        if not found and layout.startswith("amazon"):
            # what is said counts more than the release that the name is of
            found = [name for known, name in named if known.startswith("amazon")]
        if not found:
            raise LandingError(
                f"{folder} holds no {layout} of {dataset}: looked for {looked_for(dataset, layout)}; put one of them "
                f'there, or name the file: interactions = ["<file>"] in {FILE_NAME}{_what_there_is(folder)}'
            )
        if len(found) > 1:
            raise LandingError(
                f"{folder} holds {' and '.join(found)}, which could each be the {layout} of {dataset}; keep one there, "
                f'or say which: interactions = ["{found[0]}"] in {FILE_NAME}'
            )
        names = parts_or_file(folder, found[0])
    return _names(folder, dataset, layout, names, description)


def _matched(folder: Path, description: SourceDescription, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names with patterns and folders replaced by the files that they stand for."""
    return matched_files(folder, names, description.origin)


def _names(
    folder: Path,
    dataset: str,
    layout: str,
    names: tuple[str, ...] = (),
    description: SourceDescription | None = None,
) -> NamedSource:
    if layout == _SPLIT:
        from ml.data.landing.file_lines import LandingError
        from ml.data.sources.given_split import split_files

        files, missing = split_files(folder)
        if missing:
            raise LandingError(_missing_parts(folder, missing))
        names = tuple(file.name for file in files)
    from ml.data.sources.amazon.dumps import find_metadata

    if description and description.metadata:
        metadata = _matched(folder, description, description.metadata)
    else:
        metadata = find_metadata(folder, dataset)
    return NamedSource(folder, dataset, layout, names, metadata, description)


def source_of(named: NamedSource, folder: Path | None = None) -> Source:
    """How the files of a dataset are to be read, by their first lines.

    Args:
        named: the files.
        folder: where they lie, if not in the folder whose names they are.

    Raises:
        LandingError: a file holds something else.
    """
    from ml.data.landing.schema import SourceFile, Unit
    from ml.data.sources.amazon.dumps import metadata_unit

    folder = folder or named.folder
    layout, options = named.layout, named.options
    files = tuple(SourceFile(folder / name, name) for name in named.interactions)
    if layout == _SPLIT:
        from ml.data.sources.given_split import read_split

        interactions: tuple[Unit, ...] = (Unit(files, layout, read_split),)
    else:
        interactions = tuple(_unit(file, layout, options, named.description is not None) for file in files)
        layout = interactions[0].layout
    metadata = tuple(metadata_unit(SourceFile(folder / name, name), layout, named.item_text) for name in named.metadata)
    return Source(layout, interactions, metadata, options, named.notes(layout), named.item_text)


def _unit(file: SourceFile, layout: str, options: TableOptions, said: bool) -> Unit:
    from ml.data.landing.line_files import read_lines
    from ml.data.landing.schema import INTERACTIONS_SCHEMA, Unit

    if layout.startswith("amazon"):
        from ml.data.sources.amazon.dumps import review_unit

        return review_unit(file, layout, said)
    if layout == "table" and file.name.lower().endswith(".parquet"):
        from ml.data.sources.parquet import read_parquet

        return Unit((file,), layout, partial(read_parquet, options=options))
    if layout == "table":
        from ml.data.sources.partitions import table_reader

        make_reader: Callable[[], LineReader] = partial(table_reader, file, options)
    elif layout == "json_lines":
        from ml.data.sources.json_lines import JsonLines

        make_reader = partial(JsonLines, file.path, options)
    else:
        from ml.data.sources.sequence.lines import SequenceLines

        make_reader = partial(SequenceLines, file.path)
    return Unit((file,), layout, partial(read_lines, make_reader=make_reader, schema=INTERACTIONS_SCHEMA))


def _several(folder: Path, found: list[tuple[str, str]]) -> str:
    files = " and ".join(f"{name} ({layout})" for layout, name in found)
    together = f"{folder} holds {' and '.join(name for _, name in found)}"
    if len({layout for layout, _ in found}) > 1:
        return f"{folder} holds {files}; take away all but one, or give the layout: {' or '.join(dict(found))}"
    part = next((name for _, name in found if without_compression(name).endswith(f"{CORE}.json")), None)
    everything = next((name for _, name in found if not without_compression(name).endswith(f"{CORE}.json")), None)
    if part and everything:
        return (
            f"{together}, and {part} is part of {everything}; take {part} away to work on all reviews, or {everything} "
            f"to work on the 5-core, or say which in {FILE_NAME}: "
            f'layout = "{found[0][0]}" and interactions = ["{part}"]'
        )
    return (
        f"{together}; take away all but one, or say which: "
        f'layout = "{found[0][0]}" and interactions = ["{found[0][1]}"] in {FILE_NAME}'
    )


def _missing_parts(folder: Path, missing: tuple[str, ...]) -> str:
    there_should_be = ", ".join(f"{part}.txt" for part in missing)
    return f"{folder} holds no whole split: {there_should_be} missing (plain or with .gz or .zst); put all five there"


def _nothing(folder: Path, dataset: str, has_parts: bool, missing: tuple[str, ...]) -> str:
    if has_parts and len(missing) < 3:
        return _missing_parts(folder, missing)
    return (
        f"{folder} holds nothing that is recognised as {dataset}: looked for {looked_for(dataset)}, and for a split in "
        f"train, val and test; put one of them there, or describe the files in {FILE_NAME}"
        f"{_what_there_is(folder)}{_close_names(folder, dataset)}"
    )


def _close_names(folder: Path, dataset: str) -> str:
    """The remedy for files whose names almost match a dataset."""
    wanted = {name.lower(): name for _, name in interaction_names(dataset)}
    for path in sorted(folder.iterdir()):
        name = path.name
        known = name.lower()
        if path.is_dir() and known in (dataset.lower(), *wanted) and any(path.iterdir()):
            example = next(one.name for one in sorted(path.iterdir()))
            ending = "".join(Path(example).suffixes[-1:]) or ""
            return (
                f'; {name} is a folder: name what is in it, as in layout = "table" and '
                f'interactions = ["{name}/*{ending}"] in {FILE_NAME}'
            )
        if path.is_file() and known in wanted:
            return f"; {name} is there: capital letters count, rename it to {wanted[known]}"
        if known in wanted and not path.is_dir():
            return f"; {name} is there, but is no file that can be read, such as a link to a file that is not"
        packed = next((end for end in _PACKED if known.endswith(end)), None)
        if path.is_file() and packed and known.startswith(f"{dataset.lower()}."):
            return f"; {name} is there: unpack or decompress it"
    return ""


def _what_there_is(folder: Path) -> str:
    datasets = datasets_in(folder)
    if datasets:
        return f" (it holds: {_shortened(datasets)})"
    names = sorted(path.name for path in folder.iterdir())
    return f" (its files: {_shortened(names)})" if names else " (it is empty)"


def _shortened(names: list[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
