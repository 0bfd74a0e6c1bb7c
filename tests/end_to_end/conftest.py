"""An empty workspace beside an empty folder for dumps."""

from pathlib import Path

import pytest
from workbench import Workbench


@pytest.fixture
def bench(tmp_path: Path, capfd: pytest.CaptureFixture) -> Workbench:
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    return Workbench(tmp_path / "workspace", dumps, lambda: "".join(capfd.readouterr()))
