"""What the tests of the warehouse share: the compiled project, and one whole build of a small dirty dataset."""

from __future__ import annotations

import json
import os

import pytest
from warehouse_dbt import CompiledProject, DbtRun, run_dbt
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


@pytest.fixture(scope="session")
def build(landing: Landing, tmp_path_factory: pytest.TempPathFactory) -> DbtRun:
    """``dbt build`` with unit tests, in a folder whose name would break a careless path.

    Of several test processes one builds, and the others read what it has built.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "it's a {lake} [1]"
    ended = folder / "ended.json"
    with exclusive_lock(folder):
        if not ended.exists():
            landing.write(folder)
            run = run_dbt(folder, ["build"], BUILD_SETTINGS)
            ended.write_text(json.dumps([run.success, run.output]))
    return DbtRun(folder, *json.loads(ended.read_text()))


@pytest.fixture(scope="session")
def build_settings() -> Settings:
    return BUILD_SETTINGS


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> CompiledProject:
    return CompiledProject(tmp_path_factory.mktemp("compiled"))
