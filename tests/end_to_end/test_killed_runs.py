"""A run that is killed at any moment and then repeated leaves the bytes of one that was not disturbed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import dagster as dg
import pytest
from processes import Run, digests, leftovers, start
from workbench import Workbench, write_small_dump

pytestmark = pytest.mark.slow

# Lines that a whole run prints for what it makes, roughly.
LINES = 40


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    write_small_dump(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, dumps: Path) -> tuple[Path, Run]:
    """A workspace and the run in it that nobody kills, started and not waited for."""
    home = tmp_path_factory.mktemp("undisturbed") / "workspace"
    return home, start(home, dumps)


def kill_somewhere(run: Run, rng: random.Random, most_lines: int, most_seconds: float) -> bool:
    """Kill a run so many lines and seconds after its start; whether it was under way."""
    run.wait_for(" rows ", times=rng.randint(0, most_lines))
    time.sleep(rng.uniform(0, most_seconds))
    return run.kill()


def assert_as_undisturbed(home: Path, dumps: Path, undisturbed: tuple[Path, Run]) -> None:
    other, run = undisturbed
    assert run.wait() == 0, run.said
    assert digests(home) == digests(other)
    assert not leftovers(home)
    one, two = (Workbench(place, dumps, str).versions() for place in (home, other))
    assert one == two
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        under_way = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
        assert not instance.get_runs(under_way)


def test_killed_time_and_again(tmp_path: Path, dumps: Path, undisturbed: tuple[Path, Run]) -> None:
    home = tmp_path / "workspace"
    rng = random.Random(0)
    kills = 0
    # the longest step first, at its middle: what it had begun, dbt goes on with alone
    run = start(home, dumps)
    run.wait_for("making", times=2)
    while not run.children() and run.process.is_alive():
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 3))
    kills += run.kill(alone=True)
    kills += kill_somewhere(start(home, dumps), rng, most_lines=LINES // 3, most_seconds=1)
    assert kills == 2
    last = start(home, dumps)
    assert last.wait() == 0, last.said
    assert "cleared up after" in last.said
    assert_as_undisturbed(home, dumps, undisturbed)


def test_killed_with_another_choice_in_hand(tmp_path: Path, dumps: Path, undisturbed: tuple[Path, Run]) -> None:
    other, run = undisturbed
    assert run.wait() == 0, run.said
    home = tmp_path / "workspace"
    shutil.copytree(other, home)
    # killed with tables, or arrays, of another split written, and perhaps not recorded; then nothing is changed
    run = start(home, dumps, "--seed", "1")
    run.wait_for("making", times=3)
    assert run.kill()
    run = start(home, dumps)
    assert run.wait() == 0, run.said
    assert_as_undisturbed(home, dumps, undisturbed)


def run_to_dbt(home: Path, dumps: Path) -> tuple[Run, int]:
    """A run under way whose dbt has started, and the number of that process."""
    run = start(home, dumps, command="check_data")
    run.wait_for("making", times=2)
    while run.process.is_alive():
        started = [pid for pid in run.children() if b"build" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
        if started:
            # dbt takes seconds to start
            time.sleep(2)
            return run, started[0]
        time.sleep(0.01)
    raise AssertionError(run.said)


def errors_of(run: Run) -> list[str]:
    assert "Traceback" not in run.said
    return [line for line in run.said.splitlines() if line.startswith("error: ")]


def test_stopped_while_dbt_runs(tmp_path: Path, dumps: Path) -> None:
    home = tmp_path / "workspace"
    run, dbt = run_to_dbt(home, dumps)
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.wait() == 128 + signal.SIGTERM, run.said
    assert errors_of(run) == []
    assert run.said.splitlines()[-1].startswith("stopped by SIGTERM; ")
    with pytest.raises(ProcessLookupError):
        os.kill(dbt, 0)
    assert not leftovers(home)
    # given back in order: whoever comes next has nothing to clear up
    assert (home / "datasets" / "Small.lock").read_text() == ""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        assert all(run.is_finished for run in instance.get_runs())


def test_dbt_killed_by_somebody_else(tmp_path: Path, dumps: Path) -> None:
    home = tmp_path / "workspace"
    run, dbt = run_to_dbt(home, dumps)
    os.kill(dbt, signal.SIGKILL)
    assert run.wait() == 1, run.said
    (said,) = errors_of(run)
    assert "dbt was killed by SIGKILL" in said
    assert str(home / "dbt" / "Small" / "dbt.log") in said
    assert not leftovers(home)


def test_the_disk_is_full(tmp_path: Path, dumps: Path) -> None:
    home = tmp_path / "workspace"
    home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", home], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        run = start(home, dumps, command="check_data")
        assert run.wait() == 1, run.said
        (said,) = errors_of(run)
        assert "is full" in said
        assert str(home) in said
        assert not leftovers(home)
    finally:
        subprocess.run(["umount", "-l", home], check=True)


@pytest.mark.skipif("RAW2RANK_KILLS" not in os.environ, reason="takes long; set RAW2RANK_KILLS=1")
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_many_moments(seed: int, tmp_path: Path, dumps: Path, undisturbed: tuple[Path, Run]) -> None:
    home = tmp_path / "workspace"
    rng = random.Random(seed)
    for _ in range(10):
        kill_somewhere(start(home, dumps), rng, most_lines=LINES // 6, most_seconds=3)
    last = start(home, dumps)
    assert last.wait() == 0, last.said
    assert_as_undisturbed(home, dumps, undisturbed)
