"""Finding the files of a dataset in a folder, and how they are laid out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ml.data.sources.description import FILE_NAME, SourceDescription, described_in
from ml.data.sources.patterns import is_file_or_parts, matched_files, parts_or_file
from ml.data.sources.table_options import TableOptions

if TYPE_CHECKING:
    from ml.data.reading import SourceFile, Unit

_DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_METADATA_PREFIX = "meta_"
_METADATA_SUFFIXES = (".json.gz", ".jsonl.gz")
_REVIEWS_PREFIX = "reviews_"
# names of the interactions of a dataset, by layout
_NAMES = {
    "amazon_2018": ("{}.json.gz", "{}_5.json.gz"),
    "amazon_2014": ("reviews_{}.json.gz", "reviews_{}_5.json.gz"),
    "amazon_2023": ("{}.jsonl.gz",),
    "table": ("{}.inter", "{}.inter.gz", "{}.csv", "{}.csv.gz", "{}.tsv", "{}.tsv.gz", "{}.parquet"),
    "sequence": ("{}.txt", "{}.txt.gz"),
}
_SPLIT = "given_split"
_SHOWN_NAMES = 20
_START_OF_A_LITERAL = b"{'"


@dataclass(frozen=True)
class Source:
    """The files of a dataset, ready to be read.

    Attributes:
        layout: one of :data:`ml.data.sources.LAYOUTS`.
        interactions: units whose rows have the columns of :data:`ml.data.reading.INTERACTIONS_SCHEMA`.
        metadata: units whose rows have those of :data:`ml.data.reading.METADATA_SCHEMA`; may be empty.
        options: what is said of a table.
    """

    layout: str
    interactions: tuple[Unit, ...]
    metadata: tuple[Unit, ...]
    options: TableOptions = field(default_factory=TableOptions)

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All files, those of the interactions first."""
        return tuple(file for unit in (*self.interactions, *self.metadata) for file in unit.files)


def find_source(folder: Path, dataset: str, description: SourceDescription | None = None) -> Source:
    """The files of a dataset in a folder, and how they are to be read.

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
    from ml.data.lines import LandingError

    if not _DATASET_NAME.fullmatch(dataset) or dataset.startswith(_METADATA_PREFIX):
        raise LandingError(
            f"{dataset!r} cannot be the name of a dataset: give the name of its files without what is behind the first "
            f"dot, of letters, digits, '_' and '-', without {_METADATA_PREFIX!r} in front"
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
        return _source(folder, dataset, layout, parts_or_file(folder, name))
    from ml.data.sources.given_split import split_files

    files, missing = split_files(folder)
    if files and not missing:
        return _source(folder, dataset, _SPLIT)
    raise LandingError(_nothing(folder, dataset, bool(files), missing))


def datasets_in(folder: Path) -> list[str]:
    """Names of the datasets that can be recognised in a folder, in order; no folder, no names.

    A split made elsewhere, and files that ``source.toml`` names, go by the name of the folder. Files with names that
    cannot be those of a dataset are passed over.
    """
    if not folder.is_dir():
        return []
    names = {_dataset_of(path.name) for path in folder.iterdir() if is_file_or_parts(folder, path.name)}
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


def _dataset_of(file_name: str) -> str | None:
    """The dataset of which a file holds interactions, by its name."""
    if file_name.startswith(_METADATA_PREFIX):
        return None
    if file_name.startswith(_REVIEWS_PREFIX) and file_name.endswith(".json.gz"):
        return file_name.removeprefix(_REVIEWS_PREFIX).removesuffix(".json.gz").removesuffix("_5")
    if file_name.endswith(".json.gz"):
        return file_name.removesuffix(".json.gz").removesuffix("_5")
    suffixes = {pattern[2:] for layout, patterns in _NAMES.items() if layout != "amazon_2014" for pattern in patterns}
    return next((file_name.removesuffix(suffix) for suffix in suffixes if file_name.endswith(suffix)), None)


def _named_after(folder: Path, dataset: str) -> list[tuple[str, str]]:
    """Layout and name of each file with interactions of a dataset."""
    return [
        (layout, name)
        for layout, patterns in _NAMES.items()
        for name in (pattern.format(dataset) for pattern in patterns)
        if is_file_or_parts(folder, name) and not (layout == "amazon_2018" and name.startswith(_REVIEWS_PREFIX))
    ]


def _described(folder: Path, dataset: str, description: SourceDescription) -> Source:
    from ml.data.lines import LandingError

    layout = description.layout
    names = _matched(folder, description, description.interactions)
    for name in (*names, *_matched(folder, description, description.metadata)):
        if not (folder / name).is_file():
            raise LandingError(
                f"{description.origin} names {name}, which is not in {folder}; put it there, or correct the name"
            )
    if not names and layout != _SPLIT:
        found = [name for known, name in _named_after(folder, dataset) if known == layout]
        wanted = ", ".join(pattern.format(dataset) for pattern in _NAMES[layout])
        if not found:
            raise LandingError(
                f"{folder} holds no {layout} of {dataset}: looked for {wanted}; put one of them there, or name the "
                f'file: interactions = ["<file>"] in {FILE_NAME}{_what_there_is(folder)}'
            )
        if len(found) > 1:
            raise LandingError(
                f"{folder} holds {' and '.join(found)}, which could each be the {layout} of {dataset}; keep one there, "
                f'or say which: interactions = ["{found[0]}"] in {FILE_NAME}'
            )
        names = parts_or_file(folder, found[0])
    return _source(folder, dataset, layout, names, description)


def _matched(folder: Path, description: SourceDescription, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names with patterns and folders replaced by the files that they stand for."""
    return matched_files(folder, names, description.origin)


def _source(
    folder: Path,
    dataset: str,
    layout: str,
    names: tuple[str, ...] = (),
    description: SourceDescription | None = None,
) -> Source:
    from ml.data.reading import SourceFile, Unit

    options = description.table if description else TableOptions()
    if layout == _SPLIT:
        from ml.data.lines import LandingError
        from ml.data.sources.given_split import read_split, split_files

        files, missing = split_files(folder)
        if missing:
            raise LandingError(_missing_parts(folder, missing))
        interactions = (Unit(files, layout, read_split),)
    else:
        interactions = tuple(_unit(SourceFile(folder / name, name), layout, options) for name in names)
    if description and description.metadata:
        metadata = _matched(folder, description, description.metadata)
    else:
        metadata = _metadata_names(folder, dataset)
    units = tuple(_metadata_unit(folder, name, layout) for name in metadata)
    return Source(layout, interactions, units, options)


def _unit(file: SourceFile, layout: str, options: TableOptions) -> Unit:
    from ml.data.landing_lines import read_lines
    from ml.data.reading import INTERACTIONS_SCHEMA, Unit

    if layout == "table" and file.name.lower().endswith(".parquet"):
        from ml.data.sources.parquet import read_parquet

        return Unit((file,), layout, partial(read_parquet, options=options))
    if layout == "table":
        from ml.data.sources.partitions import table_reader

        make_reader = partial(table_reader, file, options)
    elif layout == "sequence":
        from ml.data.sources.sequence import SequenceLines as make_reader
    elif layout == "amazon_2023":
        from ml.data.sources.amazon_2023 import Review2023Lines as make_reader
    else:
        from ml.data.records import ReviewLines as make_reader
    return Unit((file,), layout, partial(read_lines, make_reader=make_reader, schema=INTERACTIONS_SCHEMA))


def _metadata_names(folder: Path, dataset: str) -> tuple[str, ...]:
    from ml.data.lines import LandingError

    names = tuple(f"{_METADATA_PREFIX}{dataset}{suffix}" for suffix in _METADATA_SUFFIXES)
    there = tuple(name for name in names if (folder / name).is_file())
    if len(there) > 1:
        raise LandingError(
            f"{folder} holds both {' and '.join(there)}; take one of them away, or say which: "
            f'metadata = ["{there[0]}"] in {FILE_NAME}'
        )
    return there


def _metadata_unit(folder: Path, name: str, layout: str) -> Unit:
    from ml.data.landing_lines import read_lines
    from ml.data.reading import METADATA_SCHEMA, SourceFile, Unit

    release = "amazon_2018"
    if name.removesuffix(".gz").endswith(".jsonl"):
        release = "amazon_2023"
    elif layout == "amazon_2014" or (not layout.startswith("amazon") and _starts_with_a_literal(folder / name)):
        release = "amazon_2014"
    if release == "amazon_2023":
        from ml.data.sources.amazon_2023 import Metadata2023Lines as make_reader
    elif release == "amazon_2014":
        from ml.data.sources.amazon_2014 import Metadata2014Lines as make_reader
    else:
        from ml.data.records import MetadataLines as make_reader
    read = partial(read_lines, make_reader=make_reader, schema=METADATA_SCHEMA)
    return Unit((SourceFile(folder / name, name),), release, read)


def _starts_with_a_literal(path: Path) -> bool:
    """Whether a file, gzip or plain, starts as metadata of 2014 does; that it is broken is seen when it is read."""
    import gzip
    import zlib

    length = len(_START_OF_A_LITERAL)
    try:
        with open(path, "rb") as plain:
            if plain.read(2) != b"\x1f\x8b":
                plain.seek(0)
                return plain.read(length) == _START_OF_A_LITERAL
        with gzip.open(path, "rb") as compressed:
            return compressed.read(length) == _START_OF_A_LITERAL
    except (OSError, EOFError, zlib.error):
        return False


def _several(folder: Path, found: list[tuple[str, str]]) -> str:
    files = " and ".join(f"{name} ({layout})" for layout, name in found)
    together = f"{folder} holds {' and '.join(name for _, name in found)}"
    if len({layout for layout, _ in found}) > 1:
        return f"{folder} holds {files}; take away all but one, or give the layout: {' or '.join(dict(found))}"
    part = next((name for layout, name in found if layout.startswith("amazon") and name.endswith("_5.json.gz")), None)
    if part:
        everything = next(name for _, name in found if name != part)
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
    return f"{folder} holds no whole split: {there_should_be} missing, plain or with .gz; put all five files there"


def _nothing(folder: Path, dataset: str, has_parts: bool, missing: tuple[str, ...]) -> str:
    if has_parts and len(missing) < 3:
        return _missing_parts(folder, missing)
    plain = [
        pattern.format(dataset).removesuffix(".gz")
        for layout in ("amazon_2018", "amazon_2014", "amazon_2023")
        for pattern in _NAMES[layout]
    ]
    for name in plain:
        if (folder / name).is_file():
            return f"{folder} holds {name}, but not compressed: run gzip on it"
    wanted = [pattern.format(dataset) for patterns in _NAMES.values() for pattern in patterns]
    return (
        f"{folder} holds nothing that is recognised as {dataset}: looked for {', '.join(wanted)}, and for a split in "
        f"train, val and test; put one of them there, or describe the files in {FILE_NAME}{_what_there_is(folder)}"
    )


def _what_there_is(folder: Path) -> str:
    datasets = datasets_in(folder)
    if datasets:
        return f" (it holds: {_shortened(datasets)})"
    names = sorted(path.name for path in folder.iterdir())
    return f" (its files: {_shortened(names)})" if names else " (it is empty)"


def _shortened(names: list[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
