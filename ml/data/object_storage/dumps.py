"""Dumps in object storage: which files there are, by a listing alone, and their content, fetched aside to be landed.

A listing is laid out as a folder of empty files with the names of the objects, beside the true ``source.toml``: names
say which of them a dataset is made of, and the size and ETag of these are the version of its data. Only a landing
fetches them, into a folder that holds earlier ones as well; an object is fetched again where its ETag is another. From
there they land as the files of any other folder do, to the same bytes.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.data.files import atomic_file
from ml.data.landing.file_lines import LandingError
from ml.data.object_storage.location import Location, StorageError, told
from ml.data.sources.description import FILE_NAME

# fetched at a time; large ones the libraries fetch in several ranges besides
_AT_A_TIME = 8
# in the information of a storage on an object: what changes with its content
_VERSIONS = ("ETag", "etag", "generation", "LastModified", "last_modified", "mtime", "created")
_A_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*")


@dataclass(frozen=True)
class StoredObject:
    """An object below a prefix.

    Attributes:
        name: behind the prefix.
        bytes: its size.
        version: changes with its content: its ETag, where the storage has one.
    """

    name: str
    bytes: int
    version: str


def objects_below(place: Location) -> dict[str, StoredObject]:
    """The objects below a prefix, by name, sorted; markers of folders are none.

    Names that could not be those of files in a folder, such as ``../x``, are passed over.

    Raises:
        MissingExtra: the library of the storage is not installed.
        StorageError: it cannot be listed; or an object is a folder of others too.
    """
    system = place.file_system()
    with told(place):
        found = system.find(place.path, detail=True)
    objects: dict[str, StoredObject] = {}
    for path, state in sorted(found.items()):
        name = path.removeprefix(f"{place.path}/")
        # a path that is an object itself is found as well
        if name == path or state.get("type", "file") != "file" or not _can_be_a_file(name):
            continue
        objects[name] = StoredObject(name, int(state["size"]), _version(state))
    folders = {name.rsplit("/", depth)[0] for name in objects for depth in range(1, name.count("/") + 1)}
    for name in folders & objects.keys():
        if objects[name].bytes:
            raise StorageError(f"{place / name} is an object and the folder of others: rename one of them")
        del objects[name]
    return objects


@contextmanager
def outlined(place: Location, objects: Mapping[str, StoredObject]) -> Iterator[Path]:
    """A folder with the names of objects, all files but ``source.toml`` empty; gone at the end.

    Raises:
        LandingError: of the block, with the URL in place of the folder.
        StorageError: the description cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="raw2rank-") as temporary:
        folder = Path(temporary) / folder_name(place)
        folder.mkdir()
        for name in objects:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if FILE_NAME in objects:
            system = place.file_system()
            with told(place / FILE_NAME):
                (folder / FILE_NAME).write_bytes(system.cat_file((place / FILE_NAME).path))
        with named_by_url(folder, place):
            yield folder


@contextmanager
def named_by_url(folder: Path, place: Location) -> Iterator[None]:
    """Name the objects in the messages of landing, not the files that they were fetched into."""
    try:
        yield
    except LandingError as error:
        if str(folder) not in str(error):
            raise
        raise LandingError(str(error).replace(str(folder), str(place))) from error


def folder_name(place: Location) -> str:
    """Name of a folder for the objects below a prefix: its last part, which may say something of them."""
    return place.name if _A_NAME.fullmatch(place.name) else "files"


def fetch(place: Location, objects: Iterable[StoredObject], folder: Path) -> list[str]:
    """Bring some objects into a folder, each whole or not at all, except those that lie there in the same version.

    Which version lies there is kept in ``<folder>.json``. Files of a folder that are none of these objects stay.

    Args:
        place: the prefix.
        objects: below it, as they were listed.
        folder: is made where it does not exist.

    Returns:
        The names of those that were fetched.

    Raises:
        StorageError: one cannot be read, is gone, or changed since it was listed. Those that came before are kept.
    """
    record = folder.with_name(f"{folder.name}.json")
    known = _read(record, place)
    lying = {each: _state(folder / each.name, each) for each in objects}
    wanted = [each for each, state in lying.items() if state is None or known.get(each.name) != state]
    if not wanted:
        return []
    system = place.file_system()
    with ThreadPoolExecutor(_AT_A_TIME, "raw2rank-fetch") as threads:
        jobs = {each.name: threads.submit(_fetch_one, system, place, each, folder / each.name) for each in wanted}
    for each in wanted:
        known.pop(each.name, None)
        if jobs[each.name].exception() is None:
            known[each.name] = _state(folder / each.name, each)
    with atomic_file(record) as file:
        file.write_text(json.dumps({"url": str(place), "objects": known}, indent=1, sort_keys=True) + "\n")
    for job in jobs.values():
        job.result()
    return [each.name for each in wanted]


def _fetch_one(system: Any, place: Location, each: StoredObject, path: Path) -> None:
    source = place / each.name
    with atomic_file(path) as file:
        with told(source):
            system.get_file(source.path, str(file))
            # not what was listed
            system.invalidate_cache()
            after = system.info(source.path)
        if (file.stat().st_size, _version(after)) != (each.bytes, each.version):
            raise StorageError(f"{source} changed while it was read; run the command again when nothing writes to it")


def _read(record: Path, place: Location) -> dict[str, Any]:
    try:
        known = json.loads(record.read_text())
        return dict(known["objects"]) if known["url"] == str(place) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _state(path: Path, each: StoredObject) -> dict[str, Any] | None:
    """An object as it lies in the folder: its version, and the state of its file; ``None`` where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return {"version": each.version, "bytes": each.bytes, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _version(state: Mapping[str, Any]) -> str:
    return next((str(state[name]) for name in _VERSIONS if state.get(name)), "").strip('"')


def _can_be_a_file(name: str) -> bool:
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and not re.search(r"[\x00\\]", name)
