"""A run that is killed at any moment and then repeated leaves the bytes of one that was not disturbed."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import dagster as dg
import pytest
from processes import Run, digests, leftovers, start
from workbench import Workbench, write_small_dump

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
