"""An environment that holds the core's libraries alone, as ``pip install raw2rank`` would leave it.

Nothing is downloaded: its ``site-packages`` links to what is installed here, and only to the distributions that the
core's dependencies, as ``pyproject.toml`` declares them, lead to.
"""

from __future__ import annotations

import tomllib
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]


def core_requirements() -> list[str]:
    """What the core declares that it needs."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["dependencies"]


def closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The distributions that requirements lead to, however deep, by normalised name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        key = (name, frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        found[name] = distribution(wanted.name)
        for requirement in map(Requirement, found[name].requires or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                waiting.append(requirement)
    return found


def make_core_environment(folder: Path) -> Path:
    """Make the environment in a folder; its Python. ``dbt`` lies beside it."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    packages = next((folder / "lib").glob("python*/site-packages"))
    for installed in closure(core_requirements()).values():
        for top in {file.parts[0] for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link = packages / top
            if not link.exists():
                link.symlink_to(installed.locate_file(top))
    dbt = folder / "bin" / "dbt"
    dbt.write_text(f"#!{python}\nimport sys\nfrom dbt.cli.main import cli\nsys.exit(cli())\n")
    dbt.chmod(0o755)
    return python
