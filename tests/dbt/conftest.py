"""What the tests of the warehouse share: the compiled project, and one whole build of a small dirty dataset."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from warehouse_dbt import PARSED, CompiledProject, DbtRun, run_dbt_here
from warehouse_landing import Landing, dirty_landing
from warehouse_reference import Settings

from orchestration.dataset_lock import exclusive_lock

BUILD_SETTINGS = Settings(
    from_date="1970-01-03",
    verified_only=True,
    min_rating=4,
    first_interaction_only=True,
    min_history=3,
    k_core=2,
    k_core_items=3,
    seed=3,
    validation_users=4,
)


@pytest.fixture(scope="session")
def landing() -> Landing:
    return dirty_landing(seed=1, users=30, items=12, reviews=600)


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a test run have in common; what dbt has parsed lies there, too."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    PARSED.append(folder / "parsed")
    return folder


@pytest.fixture(scope="session")
def build(landing: Landing, shared: Path) -> DbtRun:
    """``dbt build`` without unit tests. Of several test processes one builds, and the others read what it has built."""
    folder = shared / "built"
    ended = folder / "ended.json"
    with exclusive_lock(folder):
        if not ended.exists():
            landing.write(folder)
            run = run_dbt_here(folder, ["build", "--exclude-resource-type", "unit_test"], BUILD_SETTINGS)
            ended.write_text(json.dumps([run.success, run.output, run.told]))
    return DbtRun(folder, *json.loads(ended.read_text()))


@pytest.fixture(scope="session")
def build_settings() -> Settings:
    return BUILD_SETTINGS


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> CompiledProject:
    return CompiledProject(tmp_path_factory.mktemp("compiled"))
