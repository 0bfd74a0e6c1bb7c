"""Landing: raw files as Parquet, row by row, and every line that is not a row with its reason.

Each file is read once from start to end in bounded memory, several at a time in processes of their own. What
makes a line a row is in the reader of its layout (:mod:`ml.data.landing.schema`). Nothing is cleaned here beyond
types: values are kept as they stand in the dump, and a row carries the file and the line it comes from.

A landing folder holds ``files.parquet`` (one row a file), and for each unit, some files that are read
together, one Parquet file in ``rows``, one in ``rejects``, and a note in ``units``. All of it appears together
or not at all. A unit whose files have not changed since the last landing is taken from there.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.files import fingerprint
from ml.data.landing.file_lines import LandingError, complaint
from ml.data.landing.line_files import read_lines
from ml.data.landing.processes import run_in_processes
from ml.data.landing.repeats import same_lines
from ml.data.landing.schema import (
    INTERACTIONS_SCHEMA,
    METADATA_SCHEMA,
    REJECTS_SCHEMA,
    FileCounts,
    SourceFile,
    Unit,
)
from ml.data.landing.unit import LandedUnit, land_unit, write_table
from ml.data.versions import versioned_folder
from ml.limits import processors

__all__ = [
    "FILES_SCHEMA",
    "INTERACTIONS_SCHEMA",
    "METADATA_SCHEMA",
    "REJECTS_SCHEMA",
    "Landed",
    "LandingError",
    "content_digest",
    "land",
    "read_lines",
]

FILES_SCHEMA = pa.schema(
    [
        ("source_file", pa.string()),
        ("file_position", pa.int64()),
        ("layout", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("content", pa.string()),
        ("lines_read", pa.int64()),
        ("rows_read", pa.int64()),
        ("rows_kept", pa.int64()),
        ("rows_rejected", pa.int64()),
        ("rows_repeated", pa.int64()),
        ("problem", pa.string()),
        ("ordered_by", pa.string()),
        ("columns_used", pa.string()),
        ("time_column", pa.string()),
        ("unused_columns", pa.list_(pa.string())),
        ("separator", pa.string()),
        ("time_unit", pa.string()),
        ("reading_warnings", pa.string()),
    ]
)
# of the notes in `units`; a folder with notes of another format is read anew
_FORMAT = 2
# stands where there is no unit, so that there is always a table to read
_NO_UNIT = "none"


@dataclass(frozen=True)
class Landed:
    """Outcome of landing some files.

    Attributes:
        files: the counts of each file, in the order in which they were given.
        rejects_by_reason: the rejects of all of them, counted.
        files_read: how many of the files were read; the others had not changed since the last landing.
    """

    files: tuple[FileCounts, ...]
    rejects_by_reason: dict[str, int]
    files_read: int

    @property
    def lines_read(self) -> int:
        return sum(file.lines_read for file in self.files)

    @property
    def rows_read(self) -> int:
        return sum(file.rows_read for file in self.files)

    @property
    def rows_kept(self) -> int:
        return sum(file.rows_kept for file in self.files)

    @property
    def rows_rejected(self) -> int:
        return sum(file.rows_rejected for file in self.files)

    @property
    def rows_repeated(self) -> int:
        return sum(file.rows_repeated for file in self.files)

    @property
    def problems(self) -> list[str]:
        """Problems of whole files, as sentences."""
        return [file.problem for file in self.files if file.problem]


def land(
    units: Sequence[Unit],
    folder: Path,
    schema: pa.Schema,
    processes: int | None = None,
    *,
    fingerprints: Path | None = None,
    code_version: str = "",
    notes: Sequence[str] = (),
) -> Landed:
    """Read some units into a landing folder, except those that the folder holds already.

    ``files.parquet`` has one row a file, in the order of the units (``file_position``, from 1), which is the order of
    interactions without a time: the counts of :class:`ml.data.landing.schema.FileCounts`, ``layout``, ``content`` (a
    digest of the rows of its unit, which shows whether they have changed since the last landing), what orders the
    interactions (see :class:`ml.data.landing.unit.LandedUnit`), and how the file was understood
    (:class:`ml.data.landing.schema.FileReading`; ``columns_used`` is a JSON object of roles and columns, and
    ``reading_warnings`` has one warning a line). ``rows/<unit>.parquet`` has the columns of ``schema``,
    ``rejects/<unit>.parquet`` those of :data:`ml.data.landing.schema.REJECTS_SCHEMA`; ``<unit>`` is a digest of the
    names of its files. Without units there is one empty table in each.

    Args:
        units: what to read, in the order in which the source names its files; no two files of them may have the same
            name.
        folder: the landing folder; replaced as a whole.
        schema: columns of the rows, :data:`ml.data.landing.schema.ORIGIN` first.
        processes: how many units are read at a time, each in a process of its own where there are several to
            read; ``None`` for the number of processors this process may use.
        fingerprints: where :func:`ml.data.files.fingerprint` keeps what it knows; ``None`` reads every file
            that may be unchanged to its end.
        code_version: version of the code that reads. A unit is not read again where the folder holds it with
            the same names and contents of files, layout, arguments of its reader, schema and version.
        notes: on files beside these that are not read; they are among the warnings of the first file.

    Raises:
        LandingError: a file that cannot be read at all, two of the same name, or a file that changed while it
            was read. The folder is then as it was.
        RuntimeError: a reader breaks a promise of :mod:`ml.data.landing.schema`.
    """
    _check_files([file for unit in units for file in unit.files])
    previous = _notes(folder)
    identities = [_identity(unit, schema, code_version) for unit in units]
    landed: dict[str, LandedUnit] = {}
    # no earlier version: what is unchanged is taken from this one, and nobody else reads it
    with versioned_folder(folder, keep=0) as new:
        for part in ("rows", "rejects", "units"):
            (new / part).mkdir()
        to_read: list[tuple[str, functools.partial[LandedUnit]]] = []
        for unit, identity in zip(units, identities, strict=True):
            key = _key(unit)
            known = previous.get(key)
            if known is not None and known["identity"] != identity:
                known = None
            expected = None
            if known is not None or fingerprints is not None:
                expected = tuple(_fingerprint(file, fingerprints) for file in unit.files)
            if known is not None and expected == tuple(file["sha256"] for file in known["landed"]["files"]):
                earlier = LandedUnit.from_json(known["landed"])
                if _taken_over(earlier, key, schema, folder, new):
                    landed[key] = earlier
                    continue
            to_read.append((key, functools.partial(land_unit, unit, schema, new, key, expected)))
        landed |= _read(to_read, processes)
        for position, (unit, identity) in enumerate(zip(units, identities, strict=True), 1):
            key = _key(unit)
            note = {"format": _FORMAT, "position": position, "identity": identity, "landed": landed[key].to_json()}
            (new / "units" / f"{key}.json").write_text(json.dumps(note, indent=1, sort_keys=True) + "\n")
        if not units:
            write_table(new / "rows" / f"{_NO_UNIT}.parquet", schema)
            write_table(new / "rejects" / f"{_NO_UNIT}.parquet", REJECTS_SCHEMA)
        described = [
            _described_file(unit.layout, landed[_key(unit)], counts)
            for unit in units
            for counts in landed[_key(unit)].files
        ]
        rows = {file.name: new / "rows" / f"{_key(unit)}.parquet" for unit in units for file in unit.files}
        repeats = same_lines([counts for unit in units for counts in landed[_key(unit)].files], rows)
        described = [
            {
                "file_position": position,
                **_warned(file, repeats.get(file["source_file"]), notes if position == 1 else ()),
            }
            for position, file in enumerate(described, 1)
        ]
        pq.write_table(pa.Table.from_pylist(described, FILES_SCHEMA), new / "files.parquet")
    reasons = sum((Counter(unit.rejects_by_reason) for unit in landed.values()), Counter())
    files = [counts for unit in units for counts in landed[_key(unit)].files]
    files_read = sum(len(landed[key].files) for key, _ in to_read)
    return Landed(tuple(files), dict(sorted(reasons.items())), files_read)


def content_digest(folder: Path) -> str:
    """Digest of the rows and rejects of a landing folder, in hexadecimal.

    Equal for equal values in equal order, however the dumps or the Parquet files are compressed or cut into
    row groups; different when a value, a name of a file, the order of the files or an order within a file differs,
    and when a file is taken away. It is put together from what was noted of each unit when it was read.

    Raises:
        LandingError: the folder was not made by :func:`land`.
    """
    notes = _notes(folder)
    if not notes and not (folder / "rows" / f"{_NO_UNIT}.parquet").exists():
        raise LandingError(f"{folder} is not a landing folder; land the dumps again")
    parts = [
        ([file["source_file"] for file in note["landed"]["files"]], note["landed"]["digests"])
        for note in sorted(notes.values(), key=lambda note: note["position"])
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _described_file(layout: str, unit: LandedUnit, counts: FileCounts) -> dict:
    """A row of ``files.parquet``, without its position."""
    about_unit = {"ordered_by": unit.ordered_by, "content": unit.digests["rows"]}
    file = {"layout": layout, **about_unit, **dataclasses.asdict(counts)}
    reading = file.pop("reading")
    if reading is not None:
        file |= {
            "columns_used": json.dumps(reading["columns"], ensure_ascii=False) if reading["columns"] else None,
            "time_column": reading["columns"].get("timestamp"),
            "unused_columns": list(reading["unused_columns"]),
            "separator": reading["separator"],
            "time_unit": reading["time_unit"],
            "reading_warnings": "\n".join(reading["warnings"]) or None,
        }
    return file


def _warned(file: dict, same: str | None, notes: Sequence[str]) -> dict:
    """A row of ``files.parquet`` with further warnings: that its lines are those of another file, and notes."""
    warnings = [file.get("reading_warnings"), *notes]
    if same is not None:
        warnings.append(
            f"it holds the same lines as {same}; take one of the two away, or every interaction counts twice"
        )
    return {**file, "reading_warnings": "\n".join(filter(None, warnings)) or None}


def _check_files(files: list[SourceFile]) -> None:
    for one, other in pairwise(sorted(files, key=lambda file: file.name)):
        if one.name == other.name:
            raise LandingError(f"{one.path} and {other.path} have the same name; rename one, rows are traced by it")
    for file in files:
        try:
            with open(file.path, "rb"):
                pass
        except OSError as error:
            raise LandingError(complaint(file.path, error)) from error


def _fingerprint(file: SourceFile, cache: Path | None) -> str:
    try:
        return fingerprint(file.path, cache)
    except OSError as error:
        raise LandingError(complaint(file.path, error)) from error


def _key(unit: Unit) -> str:
    """Name of a unit in the folder: the same for the same files, on every machine."""
    names = json.dumps([file.name for file in unit.files])
    return hashlib.sha256(names.encode()).hexdigest()[:24]


def _identity(unit: Unit, schema: pa.Schema, code_version: str) -> dict[str, str]:
    """Everything besides the contents of the files that must be equal for a unit to be skipped."""
    return {
        "layout": unit.layout,
        "reader": _described(unit.read),
        "schema": str(schema),
        "code_version": code_version,
    }


def _described(value: object) -> str:
    """A function or class by its name, one with arguments bound by these too, anything else by its ``repr``."""
    if isinstance(value, functools.partial):
        arguments = [_described(argument) for argument in value.args]
        arguments += [f"{name}={_described(argument)}" for name, argument in sorted(value.keywords.items())]
        return f"{_described(value.func)}({', '.join(arguments)})"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)


def _notes(folder: Path) -> dict[str, dict]:
    """Notes on the units in a folder, by name; empty for a folder that does not exist or has another format."""
    notes = {}
    for path in sorted((folder / "units").glob("*.json")):
        try:
            note = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(note, dict) and note.get("format") == _FORMAT and _is_whole(note):
            notes[path.stem] = note
    return notes


def _is_whole(note: dict) -> bool:
    """Whether a note is complete; the unit of a damaged note is read again."""
    try:
        LandedUnit.from_json(note["landed"])
        return all(isinstance(file["sha256"], str) for file in note["landed"]["files"]) and "identity" in note
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _taken_over(earlier: LandedUnit, key: str, schema: pa.Schema, old: Path, new: Path) -> bool:
    """Put the tables of a unit from the old folder into the new one; ``False`` where they are not what they were."""
    rows = sum(file.rows_kept for file in earlier.files)
    rejects = sum(earlier.rejects_by_reason.values())
    for part, expected_schema, count in (("rows", schema, rows), ("rejects", REJECTS_SCHEMA, rejects)):
        try:
            with pq.ParquetFile(old / part / f"{key}.parquet") as table:
                sound = table.metadata.num_rows == count and table.schema_arrow.equals(expected_schema)
        except (OSError, pa.ArrowInvalid):
            sound = False
        if not sound:
            return False
    for part in ("rows", "rejects"):
        _link(old / part / f"{key}.parquet", new / part / f"{key}.parquet")
    return True


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # some file systems have no links
        shutil.copyfile(source, target)


def _read(jobs: list[tuple[str, functools.partial[LandedUnit]]], processes: int | None) -> dict[str, LandedUnit]:
    """Do the jobs, in processes where there are several; what each gave, by its name."""
    processes = min(len(jobs), processes or processors())
    if processes <= 1:
        return {key: job() for key, job in jobs}
    # the largest first: then no process is left with a large one at the end
    jobs = sorted(jobs, key=lambda job: -_size(job[1]))
    return dict(zip([key for key, _ in jobs], run_in_processes([job for _, job in jobs], processes), strict=True))


def _size(job: functools.partial) -> int:
    return sum(file.path.stat().st_size for file in job.args[0].files)
