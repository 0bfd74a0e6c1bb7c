"""The dbt project as Dagster sees it, with a manifest that is never older than the SQL it describes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dagster_dbt import DbtProject

from orchestration.paths import REPOSITORY

DBT_FOLDER = REPOSITORY / "dbt_project"
DBT_EXECUTABLE = str(Path(sys.executable).with_name("dbt"))


def ensure_manifest(folder: Path = DBT_FOLDER) -> DbtProject:
    """The project, parsed again when any of its files is newer than its manifest.

    ``DbtProject.prepare_if_dev`` parses only under ``dagster dev``; tests, plain Python and jobs need the
    manifest as much, and a stale one would show deleted models as assets.
    """
    # dbt writes its target below the project; both need the executable of this environment
    project = DbtProject(project_dir=folder, profiles_dir=folder)
    sources = [
        path
        for path in folder.rglob("*")
        if path.suffix in {".sql", ".yml", ".yaml"} and not {"target", "logs"} & set(path.relative_to(folder).parts)
    ]
    newest = max(path.stat().st_mtime for path in sources)
    manifest = project.manifest_path
    if not manifest.exists() or manifest.stat().st_mtime < newest:
        os.environ["PATH"] = f"{Path(DBT_EXECUTABLE).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        project.preparer.prepare(project)
    return project
