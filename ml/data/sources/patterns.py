"""The files that the names and patterns of a source stand for, in the order in which they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

_WILDCARDS = frozenset("*?[")
_DIGITS = re.compile(r"([0-9]+)")
_PARQUET = ".parquet"
# what describes a source is no part of it
DESCRIPTION = "source.toml"
# what the folders of tables that keep their earlier versions hold
_WITH_VERSIONS = {"_delta_log": "Delta Lake", ".hoodie": "Hudi", "metadata/*.metadata.json": "Iceberg"}
# as Spark, Hive and Dask pass them over
_HIDDEN = (".", "_")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts names as people count: ``part-2`` before ``part-10``."""
    # between two texts there is always a number, at the odd places
    parts = enumerate(_DIGITS.split(name))
    return [(0, int(part), part) if place % 2 else (1, 0, part) for place, part in parts if part]


def matched_files(folder: Path, names: Sequence[str], origin: str) -> tuple[str, ...]:
    """Names of files, relative to a folder, for names of files, names of folders of Parquet and patterns.

    A name counts as it is written where there is a file of that name, whatever characters it holds; only otherwise it
    is a pattern (``orders_*.csv``, ``**/*.parquet``). A folder stands for the Parquet files in it. The names keep the
    order in which they are given; what one pattern or folder stands for is in natural order.

    Args:
        folder: in which the files lie.
        names: what the source says.
        origin: where it says so, for errors.

    Raises:
        LandingError: a pattern is not possible or matches no file; a folder holds no Parquet file.
    """
    from ml.data.landing.file_lines import LandingError

    found: list[str] = []
    for given in names:
        # ./shop.csv is shop.csv
        name = PurePosixPath(given).as_posix()
        path = folder / name
        if path.is_dir():
            parts = parquet_parts(folder, name)
            if not parts:
                raise LandingError(
                    f"{origin} names {name}, a folder without Parquet files; name the files in it, as in "
                    f'interactions = ["{name.rstrip("/")}/*.csv"]'
                )
            found += parts
        elif path.exists() or not _WILDCARDS & set(name):
            found.append(name)
        else:
            matching = _sorted(folder, _glob(folder, name, origin))
            if not matching:
                raise LandingError(f"{origin} names {name}, which matches no file in {folder}; correct it")
            found += matching
    return tuple(dict.fromkeys(found))


def parquet_parts(folder: Path, name: str) -> tuple[str, ...]:
    """Names of the Parquet files in a folder of part files, relative to ``folder``, in natural order.

    Raises:
        LandingError: the folder is a table with versions, of which not all files count.
    """
    for mark, kind in _WITH_VERSIONS.items():
        if any((folder / name).glob(mark)):
            from ml.data.landing.file_lines import LandingError

            raise LandingError(
                f"{folder / name} is a table of {kind}, whose folder holds the files of earlier versions as well; "
                "write the version that counts as Parquet, and give that"
            )
    return _sorted(folder, (path for path in (folder / name).rglob("*") if path.suffix.lower() == _PARQUET))


def is_file_or_parts(folder: Path, name: str) -> bool:
    """Whether there is a file of a name, or a folder ``<name>.parquet`` of part files, as Spark writes a table."""
    path = folder / name
    if path.is_file():
        return True
    return path.suffix.lower() == _PARQUET and path.is_dir() and bool(parquet_parts(folder, name))


def parts_or_file(folder: Path, name: str) -> tuple[str, ...]:
    """The part files of a folder of Parquet, or the file itself."""
    return parquet_parts(folder, name) if (folder / name).is_dir() else (name,)


def _glob(folder: Path, pattern: str, origin: str) -> Iterator[Path]:
    from ml.data.landing.file_lines import LandingError

    if any("**" in part and part != "**" for part in PurePosixPath(pattern).parts):
        raise LandingError(
            f'{origin} names {pattern}, which is no pattern: "**" stands alone between slashes, as in "**/*.csv"; '
            'for all files of one kind in the folder, "*.csv"'
        )
    try:
        return iter(list(folder.glob(pattern)))
    except (ValueError, NotImplementedError, re.error) as error:
        raise LandingError(f"{origin} names {pattern}, which is no pattern ({error}); correct it") from error


def _sorted(folder: Path, paths: Iterator[Path]) -> tuple[str, ...]:
    """Those that are files, and no hidden ones or markers, in natural order."""
    names = (path.relative_to(folder) for path in paths if path.is_file() and path != folder / DESCRIPTION)
    kept = (name.as_posix() for name in names if not any(part.startswith(_HIDDEN) for part in name.parts))
    return tuple(sorted(kept, key=natural_key))
