"""What the tests of the warehouse share: the compiled project, and one whole build of a small dirty dataset."""

from __future__ import annotations

import pytest
from warehouse_dbt import CompiledProject, DbtRun, run_dbt
from warehouse_landing import Landing, dirty_landing
from warehouse_reference import Settings

BUILD_SETTINGS = Settings(
    from_date="1970-01-03",
    verified_only=True,
    least_rating=4,
    first_interaction_only=True,
    minimum_history=3,
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
    """``dbt build`` with unit tests, in a folder whose name would break a careless path."""
    folder = tmp_path_factory.mktemp("it's a {lake} [1]")
    landing.write(folder)
    return run_dbt(folder, ["build"], BUILD_SETTINGS)


@pytest.fixture(scope="session")
def build_settings() -> Settings:
    return BUILD_SETTINGS


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> CompiledProject:
    return CompiledProject(tmp_path_factory.mktemp("compiled"))
