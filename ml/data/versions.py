"""Folders that are replaced in one step and keep their previous versions.

A folder ``sasrec`` is a relative symbolic link to one of its versions, which lie hidden beside it::

    models/sasrec -> .versions/sasrec/0f3c...
    models/.versions/sasrec/0f3c.../
    models/.versions/sasrec/91ab.../

Of each folder the last versions stay, ``RAW2RANK_KEEP`` of them (3) with the current one, and those that are pinned
(:func:`set_pins`), however old they are. A single file, which is replaced whole, keeps its earlier versions in the same
place by hard links (:func:`keep_file`).

A version is written aside, flushed to disk, and named by a digest of its content; then the link is replaced. Readers
use the plain path and see one version or the other, whole. The links are relative, so a folder with everything in it
can be moved.

Writers of one folder take turns at that last step. Readers take no lock: whoever opens files one after the other while
the folder is replaced should open them in the version itself (:func:`current_version`), which stays at least until
the next write where one previous version is kept.

Needs the standard library alone, and a POSIX system.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ml.data.files import TAKEN_OVER, DamagedFile, flush, locked, sha256_of_file, whole, working_folder

VERSIONS = ".versions"
# in a folder of versions: which of them stay whatever is written, and for whom
PINS = "pins.json"
KEEP_VARIABLE = "RAW2RANK_KEEP"
# the current version among them
_KEPT = 3
# the version before the current one may be being read
_FEWEST = 2
# of the digest that a version is named by
_DIGITS = 32
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class NoSymbolicLinks(OSError):
    """The file system has no symbolic links; the message says what to do."""


@dataclass(frozen=True)
class Version:
    """One version of a folder.

    Attributes:
        path: the folder that holds it.
        put_in_place: when it became the current one, in UTC.
        is_current: the plain path leads to it.
        pinned_by: who needs it to stay.
    """

    path: Path
    put_in_place: datetime
    is_current: bool
    pinned_by: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of its content: the name under which it is kept."""
        return self.path.name


@contextmanager
def versioned_folder(path: Path, keep: int | None = None) -> Iterator[Path]:
    """Make a folder whole or not at all: ``with versioned_folder(path) as folder: ...``.

    Yields a fresh empty folder of the same name. When the block ends, its content becomes the current version of
    ``path`` in one step; when the block raises, ``path`` stays as it was. A process killed at any moment leaves the old
    content or the new one. Content equal to an earlier version that is still whole makes that one the current one.

    Parent folders are made. A folder at ``path`` that is no link becomes a version itself. A link that leads elsewhere
    is followed: the folder it leads to is replaced.

    Args:
        path: the folder.
        keep: how many versions before the current one stay, by default as :func:`kept_before` says; older ones are
            removed, unless they are pinned.

    Raises:
        ValueError: ``RAW2RANK_KEEP`` is not possible.
        NotADirectoryError: ``path`` exists and is not a folder.
        NoSymbolicLinks: the file system has none.
    """
    path = _followed(path)
    keep = kept_before() if keep is None else keep
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise NotADirectoryError(f"{path} is to be written as a folder, but it is a file; move it away")
    with working_folder(path.parent) as working:
        # known before hours of work are lost
        _link("nowhere", working / "link")
        new = working / "new" / path.name
        new.mkdir(parents=True)
        yield new
        _flush_tree(new)
        versions = _folder_of_versions(path)
        versions.mkdir(parents=True, exist_ok=True)
        with locked(versions):
            _take_over(path, versions, working)
            _remove_abandoned(path, working)
            version = _store(new, versions)
            _put_in_place(version, path, working)
            _remove(_old(path, keep), working)


def kept_before() -> int:
    """How many versions before the current one stay: one less than ``RAW2RANK_KEEP`` says.

    Raises:
        ValueError: it is no whole number, or below 2.
    """
    text = os.environ.get(KEEP_VARIABLE, "").strip() or str(_KEPT)
    if not text.isascii() or not text.isdigit() or int(text) < _FEWEST:
        raise ValueError(
            f"{KEEP_VARIABLE}={text} is not possible: give a whole number, at least {_FEWEST} (the current version and "
            "the one before it, which somebody may be reading)"
        )
    return int(text) - 1


def versions_of(path: Path) -> list[Version]:
    """All versions of a folder, or of a file that was kept by :func:`keep_file`, the latest to be put in place first;
    none where it was never written.

    A folder that is no link, as an earlier release wrote it or somebody copied it, is one version. What a killed writer
    completed and never put in place is newer than the current version, and not among them.
    """
    path = _followed(path)
    if path.is_dir() and not path.is_symlink():
        return [Version(path, _time(path.stat().st_mtime_ns), True)]
    current, pins = _current(path), pins_of(path)
    until = current.stat().st_mtime_ns if current else None
    return [
        Version(version, _time(when), version == current, tuple(pins.get(version.name, ())))
        for when, version in reversed(_stored(path))
        if until is None or when <= until
    ]


def keep_file(path: Path, keep: int | None = None) -> Path:
    """Keep the present content of a file as a version, so that it stays when the file is replaced.

    It costs no disk while the file is what it is now: both are one (a hard link).

    Args:
        path: a file that is never changed in place, only replaced (:func:`ml.data.files.atomic_file`).
        keep: as for :func:`versioned_folder`.

    Returns:
        Where the version lies.
    """
    path = Path(os.path.realpath(path))
    keep = kept_before() if keep is None else keep
    versions = _folder_of_versions(path)
    versions.mkdir(parents=True, exist_ok=True)
    with working_folder(path.parent) as working, locked(versions):
        version = versions / sha256_of_file(path)[:_DIGITS]
        link = working / "link"
        try:
            os.link(path, link)
        except OSError as error:
            if error.errno not in (*_NO_LINKS, errno.EMLINK):
                raise
            shutil.copyfile(path, link)
            flush(link)
        # a version of the same content gives way: two names of one file take less than two files
        os.replace(link, version)
        _mark_as_latest(version, path)
        flush(versions)
        _remove(_old(path, keep), working)
    return version


def pins_of(path: Path) -> dict[str, list[str]]:
    """Who needs which versions of a folder or file to stay, by digest of the version.

    Raises:
        DamagedFile: what is written about it cannot be read.
    """
    place = _folder_of_versions(_followed(path)) / PINS
    if not place.exists():
        return {}
    with whole(place):
        known = json.loads(place.read_text(encoding="utf-8"))
        if not isinstance(known, dict) or not all(
            isinstance(holders, list) and all(isinstance(holder, str) for holder in holders)
            for holders in known.values()
        ):
            raise ValueError("it does not say who needs which version")
        return known


def set_pins(path: Path, pins: Mapping[str, Iterable[str]]) -> None:
    """Say which versions of a folder or file have to stay, in place of what was said before.

    Args:
        path: the folder or file; nothing is written where it has no versions.
        pins: who needs a version, by its digest.
    """
    path = _followed(path)
    versions = _folder_of_versions(path)
    if not versions.is_dir():
        return
    known = {name: sorted(holders) for name, holders in sorted(pins.items()) if holders}
    with locked(versions), working_folder(path.parent) as working:
        file = working / PINS
        file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        flush(file)
        os.replace(file, versions / PINS)
        flush(versions)


def remove_old(path: Path, keep: int | None = None, dry_run: bool = False) -> list[tuple[Version, int]]:
    """Remove the versions beyond those that stay: neither the current one nor a pinned one.

    Args:
        path: the folder or file.
        keep: as for :func:`versioned_folder`.
        dry_run: remove nothing, and return what would be removed.

    Returns:
        What was removed, and the bytes of disk that it took.
    """
    path = _followed(path)
    keep = kept_before() if keep is None else keep
    versions = _folder_of_versions(path)
    if not versions.is_dir():
        return []
    with locked(versions):
        found = [(Version(old, _time(old.stat().st_mtime_ns), False), bytes_of(old)) for old in _old(path, keep)]
        if found and not dry_run:
            with working_folder(path.parent) as working:
                _remove((version.path for version, _ in found), working)
    return found


def with_versions(root: Path) -> list[Path]:
    """The folders and files below a folder that have versions, sorted."""
    found = []
    for where, names, _ in os.walk(root):
        if VERSIONS in names:
            found += [Path(where) / name.name for name in (Path(where) / VERSIONS).iterdir() if name.is_dir()]
        names[:] = [name for name in names if not name.startswith(".")]
    return sorted(found)


def bytes_of(path: Path) -> int:
    """Bytes of disk that removing a file or folder frees; what has another name elsewhere stays."""
    files = [path] if path.is_file() else [Path(where) / name for where, _, names in os.walk(path) for name in names]
    states = [file.lstat() for file in files]
    return sum(512 * state.st_blocks for state in states if state.st_nlink == 1)


def current_version(path: Path) -> Path | None:
    """The folder that a path leads to now, which the next write does not change; ``None`` where there is none."""
    path = _followed(path)
    found = Path(os.path.realpath(path))
    return found if found.is_dir() else None


def content_name(folder: Path) -> str:
    """Name of a version: SHA-256 of the names and bytes of everything in a folder, its first 32 hexadecimal digits."""
    parts = []
    for where, folders, names in os.walk(folder):
        for path in (Path(where) / name for name in (*folders, *names)):
            if path.is_symlink():
                kind = ["link", os.readlink(path)]
            elif path.is_dir():
                kind = ["folder"]
            else:
                kind = ["file", sha256_of_file(path)]
            parts.append([path.relative_to(folder).as_posix(), *kind])
    return hashlib.sha256(json.dumps(sorted(parts)).encode()).hexdigest()[:_DIGITS]


def _followed(path: Path) -> Path:
    """The path with links of others followed, up to the link that is ours or to what is none."""
    for _ in range(40):
        path = Path(os.path.realpath(path.parent)) / path.name
        if not path.is_symlink() or _is_ours(path):
            return path
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _is_ours(link: Path) -> bool:
    return Path(os.readlink(link)).parent == Path(VERSIONS, link.name)


def _folder_of_versions(path: Path) -> Path:
    return path.parent / VERSIONS / path.name


def _stored(path: Path) -> list[tuple[int, Path]]:
    """Versions on disk, each with the time at which it was put in place, in nanoseconds; the oldest first."""
    try:
        found = [version for version in _folder_of_versions(path).iterdir() if version.name != PINS]
    except FileNotFoundError:
        return []
    return sorted((version.stat().st_mtime_ns, version) for version in found)


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _link(target: str, link: Path) -> None:
    link.unlink(missing_ok=True)
    try:
        os.symlink(target, link)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise NoSymbolicLinks(
            f"the file system of {link.parent.parent} has no symbolic links, which are needed to replace a folder in "
            "one step: keep the workspace on another (RAW2RANK_HOME)"
        ) from error


def _store(new: Path, versions: Path) -> Path:
    """Make a folder a version, or give the one that holds the same."""
    name = content_name(new)
    version, copies = versions / name, 1
    while version.exists():
        if content_name(version) == name:
            return version
        # it was damaged, and may be what the link leads to
        copies += 1
        version = versions / f"{name}-{copies}"
    os.rename(new, version)
    flush(versions)
    return version


def _put_in_place(version: Path, path: Path, working: Path) -> None:
    """Let the link lead to a version, in one step."""
    _mark_as_latest(version, path)
    link = working / "link"
    _link(os.path.relpath(version, path.parent), link)
    os.replace(link, path)
    flush(path.parent)


def _mark_as_latest(version: Path, path: Path) -> None:
    """Set the time of a version to now, and after that of all others even where the clock was set back."""
    others = [when for when, other in _stored(path) if other != version]
    os.utime(version, ns=(max([time.time_ns(), *(when + 1 for when in others)]),) * 2)


def _take_over(path: Path, versions: Path, working: Path) -> None:
    """Make a folder that is no link a version, with a link to it.

    A folder cannot be exchanged for a link in one step. The link is laid ready first, where whoever clears the working
    folder of a killed process finds it and puts it in place (:func:`ml.data.files.clean_leftovers`).
    """
    if path.is_symlink() or not path.is_dir():
        return
    version = versions / content_name(path)
    if version.exists():
        # damaged, or the same: the folder itself is what counts
        os.rename(version, working / "replaced")
    ready = working / TAKEN_OVER / path.name
    ready.parent.mkdir()
    _link(os.path.relpath(version, path.parent), ready)
    flush(ready.parent)
    os.rename(path, version)
    _mark_as_latest(version, path)
    os.replace(ready, path)
    flush(versions)
    flush(path.parent)


def _remove_abandoned(path: Path, working: Path) -> None:
    """Remove what a killed writer had completed and not put in place."""
    current = current_version(path)
    if current is not None:
        latest = current.stat().st_mtime_ns
        _remove((version for when, version in _stored(path) if when > latest), working)


def _current(path: Path) -> Path | None:
    """The version that a path leads to, or that has the content of a file."""
    if not path.is_file():
        return current_version(path)
    version = _folder_of_versions(path) / sha256_of_file(path)[:_DIGITS]
    return version if version.exists() else None


def _old(path: Path, keep: int) -> list[Path]:
    """All versions but the current one, so many before it, and those that are pinned; none where it cannot be read
    which are."""
    try:
        pins = pins_of(path)
    except DamagedFile:
        return []
    current = _current(path)
    previous = [version for _, version in reversed(_stored(path)) if version != current]
    return [version for version in previous[keep:] if version.name not in pins]


def _remove(versions: Iterable[Path], working: Path) -> None:
    """Move versions into the working folder, which is removed in the end: so none is ever half there."""
    for number, version in enumerate(versions):
        os.rename(version, working / f"removed-{number}-{version.name}")


def _flush_tree(folder: Path) -> None:
    for where, _, names in os.walk(folder):
        for name in names:
            flush(Path(where) / name)
        flush(Path(where))
