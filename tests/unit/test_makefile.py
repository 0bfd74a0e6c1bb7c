"""Which Python ``make install`` takes, and what it says where that one does not do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

REPOSITORY = Path(__file__).parents[2]
with (REPOSITORY / "pyproject.toml").open("rb") as file:
    PROJECT = tomllib.load(file)["project"]


def make(folder: Path, *arguments: str, path: str) -> subprocess.CompletedProcess:
    """``make install`` into a folder, with commands looked for in a path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["/usr/bin/env", "make", f"VENV={folder / 'venv'}", "install", *arguments],
        cwd=REPOSITORY,
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
    )


def script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def python(folder: Path, name: str, version: tuple[int, int]) -> Path:
    """A Python that takes itself for another version."""
    code = f"import sys; sys.version_info = {(*version, 0)}; exec(sys.argv[2])"
    return script(folder, name, f"exec {sys.executable} -c '{code}' \"$@\"")


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_a_version_that_is_not_supported_is_refused_before_any_work(tmp_path: Path, version: tuple[int, int]) -> None:
    old = python(tmp_path, "python-of-mine", version)
    ran = make(tmp_path, f"PYTHON={old}", path=os.environ["PATH"])
    assert ran.returncode
    shown = ".".join(map(str, version))
    assert f"needs Python 3.11, 3.12 or 3.13, and {old} is {shown}: name one by make PYTHON=" in ran.stderr
    assert not (tmp_path / "venv").exists()


def test_the_first_that_runs_is_taken(tmp_path: Path) -> None:
    # as pyenv leaves it where another version is switched on
    script(tmp_path, "python3.11", 'echo "command not found" >&2; exit 127')
    python(tmp_path, "python3.12", (3, 9))
    ran = make(tmp_path, path=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "and python3.12 is 3.9" in ran.stderr


def test_without_any_python_it_says_what_to_install(tmp_path: Path) -> None:
    for name in ("python3.11", "python3.12", "python3.13", "python3"):
        script(tmp_path, name, "exit 127")
    ran = make(tmp_path, path=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert ran.returncode
    assert "no Python was found: install Python 3.11, 3.12 or 3.13" in ran.stderr


def test_makefile_and_classifiers_name_the_versions_that_the_package_takes() -> None:
    taken = SpecifierSet(PROJECT["requires-python"])
    supported = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in taken]
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"for name in (.*?) python3;", makefile)[1].split() == [f"python{name}" for name in supported]
    assert makefile.count(f"{', '.join(supported[:-1])} or {supported[-1]}") == 3
    classified = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in PROJECT["classifiers"]]
    assert [found[1] for found in classified if found] == supported
