"""Finding the files of a dataset among the dumps of a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ml.data.lines import LandingError

_DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_METADATA_PREFIX = "meta_"
_SUFFIX = ".json.gz"
_CORE_SUFFIX = "_5.json.gz"


@dataclass(frozen=True)
class Dumps:
    """The files of one dataset; ``metadata`` may be empty."""

    reviews: tuple[Path, ...]
    metadata: tuple[Path, ...]


def datasets_in(folder: Path) -> list[str]:
    """Names of the datasets of which a folder holds reviews, in order; no folder, no names.

    ``X.json.gz`` and ``X_5.json.gz`` are reviews of ``X``, ``meta_X.json.gz`` its metadata. A name may hold
    letters, digits, ``_`` and ``-``; files with other names are passed over.
    """
    if not folder.is_dir():
        return []
    names = {
        path.name.removesuffix(_CORE_SUFFIX).removesuffix(_SUFFIX)
        for path in folder.iterdir()
        if path.name.endswith(_SUFFIX) and not path.name.startswith(_METADATA_PREFIX) and path.is_file()
    }
    return sorted(name for name in names if _DATASET_NAME.fullmatch(name))


def find_dumps(folder: Path, dataset: str) -> Dumps:
    """The files of a dataset in the layout of the 2018 release.

    Args:
        folder: where the dumps lie.
        dataset: the name of the category, as in ``<dataset>.json.gz`` or ``<dataset>_5.json.gz``.

    Raises:
        LandingError: the name cannot be one of a dataset; the folder does not exist; there are no reviews, or
            both files of them.
    """
    if not _DATASET_NAME.fullmatch(dataset) or dataset.startswith(_METADATA_PREFIX):
        raise LandingError(
            f"{dataset!r} cannot be the name of a dataset: give the category as in <category>{_SUFFIX}, of "
            f"letters, digits, '_' and '-', without {_METADATA_PREFIX!r} in front"
        )
    everything, core = folder / f"{dataset}{_SUFFIX}", folder / f"{dataset}{_CORE_SUFFIX}"
    metadata = folder / f"{_METADATA_PREFIX}{dataset}{_SUFFIX}"
    if not folder.is_dir():
        raise LandingError(f"{folder} is not a folder; make it, and put {everything.name} or {core.name} there")
    if everything.exists() and core.exists():
        raise LandingError(
            f"{folder} holds both {everything.name} and {core.name}, and the second is part of the first; "
            f"take {core.name} away to work on all reviews, or {everything.name} to work on the 5-core"
        )
    reviews = tuple(path for path in (everything, core) if path.exists())
    if not reviews:
        raise LandingError(
            f"{folder} holds no reviews of {dataset}: looked for {everything.name} and {core.name}; put one "
            f"of them there{_what_there_is(folder, everything)}"
        )
    return Dumps(reviews, (metadata,) if metadata.exists() else ())


def _what_there_is(folder: Path, wanted: Path) -> str:
    for plain in (wanted.with_suffix(""), folder / wanted.name.replace(_SUFFIX, _CORE_SUFFIX[:-3])):
        if plain.exists():
            return f" ({plain.name} is there, but not compressed: run gzip on it)"
    datasets = datasets_in(folder)
    return f" (it holds reviews of: {', '.join(datasets)})" if datasets else ""
