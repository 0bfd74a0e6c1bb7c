"""Twenty refreshes by whole runs, with every kind of fault, as ``benchmarks/soak.py`` makes them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


# some thirty whole runs, one after the other
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_refreshes(tmp_path: Path) -> None:
    options = ["--refreshes", "20", "--users", "260", "--items", "90", "--growth", "15", "--forked"]
    # recipes of the tests would be trained by default
    environment = {name: value for name, value in os.environ.items() if name != "RAW2RANK_RECIPES"}
    command = [sys.executable, "-m", "benchmarks.soak", "--out", str(tmp_path / "soak"), *options]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^20 refreshes, \d+ runs, 0 invariants broken", ran.stdout, re.MULTILINE)
