"""States of a dataset's tables in object storage: each whole or not to be seen, for other machines to read.

Below a prefix lie the versions of each asset, by a digest of their content, and what leads to them::

    marts/items/0f3c.../items.parquet     a version; never changed
    states/91ab....json                   a state: which version of each asset belongs together, with sizes and digests
    current.json                          the pointer: the digest of the present state
    releases/77e0....json                 a training set that a release was made of; its states stay

A publication writes the versions that are not there yet, then the state, and replaces the pointer last. A single object
is replaced in one step, so that readers, who read the pointer once, see one state or the other. What a killed
publication leaves is seen by nobody, and removed by :func:`clean`.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ml.data.files import sha256_of_file
from ml.data.object_storage.location import Location, StorageError, told

POINTER, STATES, RELEASES = "current.json", "states", "releases"
_AT_A_TIME = 8
_FORMAT = 1
_DIGITS = 32
# a version that no state names may belong to a publication under way on another machine
_UNDER_WAY_SECONDS = 86_400


@dataclass(frozen=True)
class State:
    """Which versions of the assets of a dataset belong together.

    Attributes:
        digest: of all that follows.
        assets: by asset (``marts/items``) the digest of its version, whether it is a ``file``, a ``folder`` or a
            folder of ``folders``, and the bytes and SHA-256 of its files by name.
        notes: what the publisher says beside it, JSON values.
    """

    digest: str
    assets: dict[str, dict[str, Any]]
    notes: dict[str, Any]

    @classmethod
    def of(cls, assets: dict[str, dict[str, Any]], notes: dict[str, Any]) -> State:
        return cls(_digest([assets, notes]), assets, notes)

    def files(self) -> dict[str, tuple[str, int, str]]:
        """Key, bytes and SHA-256 of each file, by its path in a lake on disk.

        The version of an asset that is one file, as ``marts/items.parquet``, holds that file alone.
        """
        return {
            _in_the_lake(asset, name, version["kind"] == "file"): (
                f"{asset}/{version['digest']}/{name}",
                file["bytes"],
                file["sha256"],
            )
            for asset, version in self.assets.items()
            for name, file in version["files"].items()
        }


def publish(place: Location, assets: Mapping[str, Path], notes: dict[str, Any]) -> tuple[State, int]:
    """Make a state of some files and folders the present one below a prefix.

    Args:
        place: the prefix.
        assets: a file or a folder by asset; files keep their names.
        notes: for :class:`State`.

    Returns:
        The state, and how many files were written for it.

    Raises:
        StorageError: it cannot be written. What was current stays so.
    """
    described = {asset: _described(path) for asset, path in sorted(assets.items())}
    state = State.of(described, notes)
    system = place.file_system()
    with told(place):
        there = {path.removeprefix(f"{place.path}/"): each["size"] for path, each in _found(system, place).items()}
    wanted = [
        (place / key, _source(assets, asset, name))
        for asset, version in described.items()
        for name, file in version["files"].items()
        if there.get(key := f"{asset}/{version['digest']}/{name}") != file["bytes"]
    ]

    def write(one: tuple[Location, Path]) -> None:
        with told(one[0]):
            system.put_file(str(one[1]), one[0].path)

    with ThreadPoolExecutor(_AT_A_TIME, "raw2rank-publish") as threads:
        list(threads.map(write, wanted))
    _write(system, place / f"{STATES}/{state.digest}.json", {"format": _FORMAT, "assets": described, "notes": notes})
    _write(system, place / POINTER, {"format": _FORMAT, "state": state.digest})
    return state, len(wanted)


def current(place: Location) -> State | None:
    """The present state below a prefix; ``None`` where nothing was published.

    Raises:
        StorageError: it cannot be read, or is of a later version of this project.
    """
    system = place.file_system()
    with told(place / POINTER):
        if not system.exists((place / POINTER).path):
            return None
    return _state(system, place, str(_read(system, place / POINTER)["state"]))


def bring(place: Location, state: State, folder: Path) -> None:
    """Fetch all files of a state into a folder, laid out as a lake on disk, each checked against its digest.

    Raises:
        StorageError: one cannot be read, or is not what was published.
    """
    system = place.file_system()

    def read(one: tuple[str, tuple[str, int, str]]) -> None:
        name, (key, size, sha256) = one
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise StorageError(f"{place} names a file outside of a lake, {name}: publish the dataset again")
        path.parent.mkdir(parents=True, exist_ok=True)
        with told(place / key):
            system.get_file((place / key).path, str(path))
        if path.stat().st_size != size or sha256_of_file(path) != sha256:
            raise StorageError(f"{place / key} is not what was published: publish the dataset again")

    with ThreadPoolExecutor(_AT_A_TIME, "raw2rank-fetch") as threads:
        list(threads.map(read, sorted(state.files().items())))


def pin(place: Location, training_sets: Iterable[str]) -> None:
    """Say of which training sets releases were made: the states with these notes stay for good."""
    system = place.file_system()
    for digest in sorted(set(training_sets)):
        with told(place):
            known = system.exists((place / f"{RELEASES}/{digest}.json").path)
        if not known:
            _write(system, place / f"{RELEASES}/{digest}.json", {"training_set": digest})


def clean(place: Location, keep: int, dry_run: bool = False, under_way: float = _UNDER_WAY_SECONDS) -> dict[str, int]:
    """Remove the states beyond those that stay, and versions that no state names; bytes by what was removed.

    The current state stays, the last ones before it, and those that a release was made of.

    Args:
        place: the prefix.
        keep: how many states before the current one stay.
        dry_run: remove nothing.
        under_way: seconds; what was written since belongs to a publication that may not have ended.
    """
    system = place.file_system()
    with told(place):
        found = {path.removeprefix(f"{place.path}/"): each for path, each in _found(system, place).items()}
    present = current(place)
    if present is None:
        return {}
    written = {key: _when(each) for key, each in found.items()}
    states = {key: _state(system, place, Path(key).stem) for key in found if key.startswith(f"{STATES}/")}
    pinned = {Path(key).stem for key in found if key.startswith(f"{RELEASES}/")}
    earlier = sorted((key for key in states if states[key] != present), key=lambda key: written[key], reverse=True)
    young = time.time() - under_way
    gone = [
        key
        for number, key in enumerate(earlier)
        if number >= keep and states[key].notes.get("training_set") not in pinned and written[key] < young
    ]
    named = {
        f"{asset}/{version['digest']}/"
        for key, state in states.items()
        if key not in gone
        for asset, version in state.assets.items()
    }
    versions: dict[str, list[str]] = {}
    for key in found:
        if not key.startswith((f"{STATES}/", f"{RELEASES}/")) and key.count("/") > 1:
            # layer, asset and digest
            versions.setdefault("/".join(key.split("/")[:3]) + "/", []).append(key)
    removed = {key: [key] for key in gone} | {
        version: keys
        for version, keys in versions.items()
        if version not in named and all(written[key] < young for key in keys)
    }
    if not dry_run and removed:
        # states first, so that none is left without its versions
        for key in removed:
            with told(place / key.rstrip("/")):
                for one in removed[key]:
                    system.rm_file((place / one).path)
    return {name: sum(found[key]["size"] for key in keys) for name, keys in removed.items()}


def _described(path: Path) -> dict[str, Any]:
    """A file or folder as an asset of a state. A folder that is no link holds others with versions of their own."""
    kind = "file" if path.is_file() else "folder" if path.is_symlink() else "folders"
    root = path.parent if kind == "file" else path
    files = {
        each.relative_to(root).as_posix(): {"bytes": each.stat().st_size, "sha256": sha256_of_file(each)}
        for each in ([path] if kind == "file" else _files(path))
    }
    return {"digest": _digest([kind, files]), "kind": kind, "files": files}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _files(folder: Path) -> list[Path]:
    """The files below a folder, links followed, without hidden ones."""
    found = []
    for where, names, files in os.walk(folder, followlinks=True):
        names[:] = [name for name in names if not name.startswith(".")]
        found += [Path(where) / name for name in files if not name.startswith(".")]
    return sorted(found)


def _source(assets: Mapping[str, Path], asset: str, name: str) -> Path:
    return assets[asset] if assets[asset].is_file() else assets[asset] / name


def _in_the_lake(asset: str, name: str, is_file: bool) -> str:
    return f"{asset.rpartition('/')[0]}/{name}" if is_file else f"{asset}/{name}"


def _found(system: Any, place: Location) -> dict[str, dict]:
    system.invalidate_cache()
    return system.find(place.path, detail=True)


def _when(each: Mapping[str, Any]) -> float:
    when = next(
        (each[name] for name in ("LastModified", "last_modified", "updated", "created") if each.get(name)), None
    )
    # where a storage does not say when, nothing is taken for old
    return when.timestamp() if isinstance(when, datetime) else time.time()


def _state(system: Any, place: Location, digest: str) -> State:
    source = place / f"{STATES}/{digest}.json"
    value = _read(system, source)
    state = State(digest, value["assets"], value["notes"])
    if State.of(state.assets, state.notes) != state:
        raise StorageError(f"{source} is not what was published: publish the dataset again")
    return state


def _read(system: Any, source: Location) -> dict[str, Any]:
    with told(source):
        text = system.cat_file(source.path)
    try:
        value = json.loads(text)
        known = value["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{source} is damaged ({error}): publish the dataset again") from error
    if known != _FORMAT:
        raise StorageError(f"{source} was written by another version of raw2rank: use that here too")
    return value


def _write(system: Any, target: Location, value: Mapping[str, Any]) -> None:
    with told(target):
        system.pipe_file(target.path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())
