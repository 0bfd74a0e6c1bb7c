"""The processors and the memory that this process may use, from control groups that are made up."""

import os
from pathlib import Path

import pytest

from ml import limits
from ml.data.database import memory_limit, thread_limit

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """64 processors, and control groups in a folder."""
    groups = tmp_path / "groups"
    groups.mkdir()
    monkeypatch.setattr(limits, "_GROUPS", groups)
    monkeypatch.setattr(limits, "_OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    for variable in ("RAW2RANK_DUCKDB_MEMORY", "RAW2RANK_DUCKDB_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    return groups


def limited(machine: Path, own: str, **contents: str) -> None:
    """Put files into control groups: ``cpu`` and ``memory`` of the own one, ``cpu_above`` of the one above it."""
    (machine.parent / "own").write_text(f"12:cpu:/of/version/1\n0::{own}\n")
    place = machine / own.strip("/")
    place.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        file, _, above = name.partition("_")
        (place.parent if above else place).joinpath(f"{file}.max").write_text(f"{content}\n")


def test_a_machine_without_control_groups_is_used_as_a_whole(machine: Path) -> None:
    assert limits.processors() == 64
    assert limits.memory_bytes() == MACHINE
    (machine.parent / "own").write_text("3:cpu,cpuacct:/here\n2:memory:/here\n")
    assert limits.processors() == 64


@pytest.mark.parametrize(
    ("quota", "processors"),
    [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 2), ("20000 100000", 1), ("9900000 100000", 64)],
)
@pytest.mark.parametrize("own", ["/", "/system.slice/raw2rank.service", "/../../kubepods/pod"])
def test_a_quota_limits_the_processors(machine: Path, own: str, quota: str, processors: int) -> None:
    limited(machine, "/" if ".." in own else own, cpu=quota)
    (machine.parent / "own").write_text(f"0::{own}\n")
    assert limits.processors() == processors
    assert thread_limit() == str(processors)


def test_the_least_limit_of_all_groups_counts(machine: Path) -> None:
    limited(machine, "/pods/one", cpu="800000 100000", cpu_above="300000 100000", memory="max", memory_above="max")
    assert limits.processors() == 3
    assert limits.memory_bytes() == MACHINE
    limited(machine, "/pods/one", memory_above=str(1 << 30))
    assert limits.memory_bytes() == 1 << 30
    assert memory_limit() == f"{(1 << 30) * 4 // 5 >> 20}MiB"


def test_what_a_user_says_comes_first(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(machine, "/", cpu="200000 100000", memory=str(1 << 30))
    monkeypatch.setenv("RAW2RANK_DUCKDB_MEMORY", "4GB")
    monkeypatch.setenv("RAW2RANK_DUCKDB_THREADS", "8")
    assert (memory_limit(), thread_limit()) == ("4GB", "8")
    monkeypatch.setenv("RAW2RANK_DUCKDB_MEMORY", "")
    monkeypatch.setenv("RAW2RANK_DUCKDB_THREADS", "")
    assert (memory_limit(), thread_limit()) == ("819MiB", "2")
