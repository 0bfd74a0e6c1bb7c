"""Workspaces beside folders for dumps: one for a test, and one that the tests of a module go on from."""

from pathlib import Path

import pytest
from workbench import Workbench


@pytest.fixture
def bench(tmp_path: Path, capfd: pytest.CaptureFixture) -> Workbench:
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    return Workbench(tmp_path / "workspace", dumps, lambda: "".join(capfd.readouterr()))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def kept(place: Path, capfd: pytest.CaptureFixture) -> Workbench:
    """The workspace that the tests of a module share."""
    return Workbench(place / "workspace", place / "dumps", lambda: "".join(capfd.readouterr()))
