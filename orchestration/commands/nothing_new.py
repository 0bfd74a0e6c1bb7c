"""A ``make run`` that is repeated while nothing has changed, without loading Dagster and dbt.

A run that leaves nothing to do writes a stamp: a digest of everything that the plan of such a run looks at. The same
command, with the same digest, has nothing to do either. What is compared is coarser than the plan: any difference,
a comment in the code or an open UI that writes to Dagster's database, makes the run plan as always.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.data.files import atomic_file
from ml.data.landing.file_lines import LandingError
from orchestration.paths import FETCHED, ITEM_FILES, REPOSITORY, DatasetPaths, Workspace

_CODE = ("orchestration", "ml", "dbt_project", "data_contracts")
_NOT_CODE = {"__pycache__", "target", "logs", "dbt_packages"}
# folders of the workspace: what runs write beside their results, and the dumps, which are looked at for themselves
_NOT_RESULTS = {"landing", FETCHED, "temporary", "up_to_date"}
_PREVIOUS = ".versions"


@dataclass(frozen=True)
class Command:
    """A command as it was given, and the state of everything that it starts from, before it starts.

    Attributes:
        arguments: of the command.
        code: digest of the code, the recipes, the installed libraries and the environment.
    """

    arguments: tuple[str, ...]
    code: str

    @classmethod
    def given(cls, arguments: Sequence[str] | None = None) -> Command:
        """The present one; ``arguments`` as for ``argparse``."""
        given = tuple(sys.argv[1:] if arguments is None else arguments)
        folders = [REPOSITORY / name for name in _CODE]
        if recipes := os.environ.get("RAW2RANK_RECIPES"):
            folders.append(Path(recipes))
        environment = sorted((name, value) for name, value in os.environ.items() if name.startswith("RAW2RANK_"))
        installed = sorted(
            name for path in sys.path if os.path.isdir(path) for name in os.listdir(path) if name.endswith("-info")
        )
        known = [given, sys.version, environment, installed, os.getcwd()]
        return cls(given, _digest([json.dumps(known), *_contents(folders)]))

    @property
    def stamp(self) -> Path:
        """Path of the stamp of this command."""
        return Workspace.current().home / "up_to_date" / f"{_digest(self.arguments)[:16]}.json"

    def nothing_new(self) -> DatasetPaths | None:
        """The dataset of the command where it has nothing to do; ``None`` where that is not sure."""
        try:
            known = json.loads(self.stamp.read_text(encoding="utf-8"))
            paths = Workspace.current().dataset(known["dataset"])
            same = known == self._stamped(paths, dumps_of(paths))
        except (OSError, ValueError, KeyError, TypeError, LandingError):
            return None
        return paths if same else None

    def remember(self, paths: DatasetPaths, dumps: str) -> None:
        """Write the stamp, after a run that has left nothing to do and has closed the instance.

        Args:
            paths: of the dataset.
            dumps: :func:`dumps_of` it before the run looked at them.
        """
        self.stamp.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.stamp) as file:
            file.write_text(json.dumps(self._stamped(paths, dumps), indent=1) + "\n", encoding="utf-8")

    def _stamped(self, paths: DatasetPaths, dumps: str) -> dict[str, str]:
        def skipped(name: str) -> bool:
            return name == _PREVIOUS or name.endswith(".lock")

        places = (path for path in paths.home.iterdir() if path.name not in _NOT_RESULTS and not skipped(path.name))
        results = _states(sorted(places), skipped)
        return {"dataset": paths.dataset, "code": self.code, "dumps": dumps, "results": _digest(results)}


def dumps_of(paths: DatasetPaths) -> str:
    """State of the files of a dataset, of its registration and of its settings, with the files that these name.

    Raises:
        StorageError: files in object storage cannot be listed.
    """
    described_in = [path for path in (paths.registration, paths.source_file, *_item_files(paths)) if path]
    if (url := paths.dumps_url) is not None:
        from ml.data.object_storage.dumps import objects_below

        return _digest([*map(repr, objects_below(url).values()), *_states(described_in, lambda _: False)])
    return _digest(_states([paths.dumps, *described_in], lambda _: False))


def _item_files(paths: DatasetPaths) -> list[Path]:
    """Files of item ids that the settings name, as they were last written down; they may lie anywhere."""
    try:
        written = json.loads((paths.asset("settings") / "recommendations.json").read_text(encoding="utf-8"))
        return [paths.home / written[name] for name in ITEM_FILES if written.get(name)]
    except (OSError, ValueError, TypeError, AttributeError):
        # none yet; or damaged, which the run says
        return []


def _contents(folders: Iterable[Path]) -> Iterator[str]:
    """Names and contents of all files in folders."""
    for folder in folders:
        for path in _files(folder, _NOT_CODE.__contains__):
            yield f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _states(roots: Iterable[Path], skipped: Callable[[str], bool]) -> Iterator[str]:
    """Names of all files, with size, times of change in nanoseconds and inode."""
    for root in roots:
        for path in _files(root, skipped):
            state = os.stat(path)
            yield f"{path} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino}"


def _files(root: Path, skipped: Callable[[str], bool]) -> Iterator[Path]:
    """All files in a folder, links followed, in the order of their names; the file itself where it is one."""
    if root.is_file():
        yield root
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not skipped(name))
        yield from (Path(folder, name) for name in sorted(names) if not skipped(name))


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
