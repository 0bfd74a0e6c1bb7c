"""The steps of a Dockerfile, and what they do to a folder that stands for the root of the image."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

# of a user alone who exists in the image and not here
_NOT_HERE = "groupadd() { :; }; useradd() { :; }; chown() { :; }; "


@dataclass(frozen=True)
class Step:
    """One instruction: ``COPY``, and what stands behind it on its line and the lines that continue it."""

    name: str
    text: str


@dataclass
class Stage:
    """What follows one ``FROM``.

    Attributes:
        base: the image that it starts from.
        name: that other stages know it by; empty without.
        steps: in order.
    """

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [step.text for step in self.steps if step.name == name]


@dataclass(frozen=True)
class Copied:
    """A ``COPY``: sources, destination, and the stage that they come from; empty for the build context."""

    sources: tuple[str, ...]
    destination: str
    stage: str


def read(file: Path) -> list[Stage]:
    """The stages of a Dockerfile.

    Raises:
        ValueError: it has an instruction that is not known here.
    """
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, text = line.strip().partition(" ")
        if name == "FROM":
            base, _, alias = text.partition(" AS ")
            stages.append(Stage(base.strip(), alias.strip()))
        elif name in ("WORKDIR", "RUN", "COPY", "ENV", "USER"):
            stages[-1].steps.append(Step(name, text.strip()))
        else:
            raise ValueError(f"{file} has an instruction that is not known: {name}")
    return stages


def copied(text: str) -> Copied:
    options = [part for part in shlex.split(text) if part.startswith("--")]
    *sources, destination = [part for part in shlex.split(text) if not part.startswith("--")]
    stage = next((option.partition("=")[2] for option in options if option.startswith("--from=")), "")
    return Copied(tuple(sources), destination, stage)


def variables(text: str) -> dict[str, str]:
    """The variables of an ``ENV``."""
    return dict(part.split("=", 1) for part in shlex.split(text))


class Replay:
    """Runs the steps of stages on a folder that stands for the root of them all.

    Args:
        root: the folder.
        context: the folder that the image is built from.
        folders: at the top of the image that steps name; each is in ``root`` here.
    """

    def __init__(self, root: Path, context: Path, folders: tuple[str, ...]) -> None:
        self.root, self.context, self.folders = root, context, folders
        self.environment: dict[str, str] = {}
        self.where = root

    def here(self, text: str) -> str:
        """A text with the folders of the image where they are here."""
        for folder in self.folders:
            text = re.sub(rf"(?<![\w.-]){re.escape(folder)}(?=[/\s:,]|$)", str(self.root / folder.strip("/")), text)
        return text

    def run(self, stage: Stage) -> None:
        for step in stage.steps:
            if step.name == "WORKDIR":
                self.where = Path(self.here(step.text))
                self.where.mkdir(parents=True, exist_ok=True)
            elif step.name == "COPY":
                self._copy(copied(step.text))
            elif step.name == "ENV":
                given = variables(self.here(step.text))
                self.environment |= {name: os.path.expandvars(value) for name, value in given.items()}
            elif step.name == "RUN":
                # the Python of the image is the one that runs the tests
                python = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}; '
                self.shell(_NOT_HERE + python + self.here(step.text))

    def shell(self, command: str) -> subprocess.CompletedProcess:
        """A command in the folder and with the variables that the steps so far have left."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAW2RANK_", "DAGSTER_"))}
        ran = subprocess.run(
            ["sh", "-ec", command],
            cwd=self.where,
            env={**kept, "PYTHONPATH": "", **self.environment},
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout[-2000:]}{ran.stderr[-4000:]}"
        return ran

    def _copy(self, step: Copied) -> None:
        destination = self.where / self.here(step.destination)
        if step.stage:
            # the stages share one root
            assert step.sources == (step.destination,), "an environment works at its place alone"
            return
        for source in step.sources:
            path = self.context / source
            if path.is_dir():
                shutil.copytree(path, destination, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
            else:
                destination.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, destination)
