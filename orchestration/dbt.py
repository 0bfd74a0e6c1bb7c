"""The dbt project as Dagster sees it, with a manifest that is never older than the SQL it describes."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from dagster_dbt import DbtCliResource, DbtProject

from orchestration.dataset_lock import exclusive_lock
from orchestration.paths import IS_CHECKOUT, REPOSITORY, Workspace

DBT_FOLDER = REPOSITORY / "dbt_project"
PARTIAL_PARSE = "partial_parse.msgpack"
_WORKING_PREFIX = ".parsing-"


def _executable() -> str:
    """Path of ``dbt``: next to this Python, else in the folder of scripts, else on the ``PATH``."""
    folders = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    beside = next((folder / "dbt" for folder in folders if (folder / "dbt").is_file()), None)
    return str(beside or shutil.which("dbt") or folders[0] / "dbt")


DBT_EXECUTABLE = _executable()


def ensure_manifest(folder: Path = DBT_FOLDER, target: Path | None = None) -> DbtProject:
    """The project, parsed again when any of its files is newer than its manifest.

    ``DbtProject.prepare_if_dev`` parses only under ``dagster dev``; tests, plain Python and jobs need the
    manifest as much, and a stale one would show deleted models as assets.

    Of several processes that start at once one parses and the others wait; a manifest is put in place whole, so one
    that is there can be read.

    Args:
        folder: of the project.
        target: where the manifest lies; ``target/`` in the project where ``None``. An installed project is not written
            to: its manifest lies in the workspace, in a folder for each content of the project.

    Raises:
        DagsterDbtCliRuntimeError: dbt cannot parse the project.
    """
    if target is None and not IS_CHECKOUT:
        target = Workspace.current().dbt_parsed / _content_digest(folder)
    project = DbtProject(project_dir=folder, profiles_dir=folder, target_path=target or Path("target"))
    with exclusive_lock(project.manifest_path.parent):
        newest = _newest(folder)
        manifest = project.manifest_path
        if not manifest.exists() or manifest.stat().st_mtime_ns < newest:
            _parse(project)
            # a file that was changed while dbt read the others is newer than the manifest
            os.utime(manifest, ns=(newest, newest))
    return project


def _sources(folder: Path) -> list[Path]:
    """The files that dbt reads, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in {".sql", ".yml", ".yaml"} and not {"target", "logs"} & set(path.relative_to(folder).parts)
    )


def _newest(folder: Path) -> int:
    """Time of the last change of the project, nanoseconds since 1970."""
    return max(path.stat().st_mtime_ns for path in _sources(folder))


def _content_digest(folder: Path) -> str:
    """Digest of names and contents: an upgrade may bring other files that are older than the manifest."""
    digest = hashlib.sha256()
    for path in _sources(folder):
        digest.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def _parse(project: DbtProject) -> None:
    target = project.manifest_path.parent
    for left in target.glob(f"{_WORKING_PREFIX}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_WORKING_PREFIX, dir=target) as working:
        # an earlier parse is copied there by dagster_dbt, so that only what changed is parsed
        dbt = DbtCliResource(project_dir=project, profiles_dir=str(project.profiles_dir), dbt_executable=DBT_EXECUTABLE)
        dbt.cli(["parse", "--quiet"], target_path=Path(working)).wait()
        for name in (PARTIAL_PARSE, project.manifest_path.name):
            os.replace(Path(working) / name, target / name)
