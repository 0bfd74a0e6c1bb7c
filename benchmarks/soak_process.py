"""One command of raw2rank as a process of its own, that can be killed at any moment."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LONGEST = 1800.0
# Children that are forked from a process that has imported everything start in milliseconds.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["orchestration.definitions", "orchestration.commands.run", "great_expectations"])


@dataclass
class Process:
    """One command under way, or ended.

    Attributes:
        pid: of the process, which leads a group of its own.
        poll: its exit code, negative where it was killed; ``None`` while it lives.
        output: file of all that it says.
        began: time of its start.
    """

    pid: int
    poll: Callable[[], int | None]
    output: Path
    began: float

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    @property
    def rows_said(self) -> int:
        """How many assets it says to have made."""
        return sum(" rows " in line for line in self.said.splitlines())

    def wait(self) -> int:
        """The exit code, once it has ended."""
        self.wait_until(lambda: False)
        code = self.poll()
        assert code is not None
        return code

    def wait_until(self, reached: Callable[[], bool], pause: float = 0.02) -> bool:
        """Until something holds, or it has ended; whether it held while it was under way."""
        while self.poll() is None:
            if reached():
                return True
            if time.monotonic() - self.began > _LONGEST:
                self.kill()
                raise TimeoutError(f"still running after {_LONGEST:.0f} s:\n{self.said}")
            time.sleep(pause)
        return False

    def kill(self, alone: bool = False) -> None:
        """SIGKILL, to it and its children or to it alone."""
        if self.poll() is None:
            (os.kill if alone else os.killpg)(self.pid, signal.SIGKILL)
            while self.poll() is None:
                time.sleep(0.01)


def start(
    home: Path, output: Path, command: str, arguments: list[str], forked: bool = False, largest_file: int = 0
) -> Process:
    """Start ``raw2rank <command>`` in a workspace.

    Args:
        home: the workspace.
        output: file for all that it says.
        command: of ``raw2rank``.
        arguments: of the command.
        forked: fork it from a process that has imported everything, in place of a fresh interpreter.
        largest_file: bytes that a file may have (``RLIMIT_FSIZE``); 0 for no limit.
    """
    began = time.monotonic()
    if forked:
        child = _context.Process(target=_run, args=(str(home), str(output), [command, *arguments], largest_file))
        child.start()
        assert child.pid is not None

        def poll() -> int | None:
            return child.exitcode

        return Process(child.pid, poll, output, began)
    environment = {**os.environ, "RAW2RANK_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    with open(output, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.commands.main", command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=(lambda: _limit(largest_file)) if largest_file else None,
        )
    return Process(process.pid, process.poll, output, began)


def _run(home: str, output: str, arguments: list[str], largest_file: int) -> Any:
    os.setsid()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ["RAW2RANK_HOME"] = home
    _limit(largest_file)
    from orchestration.commands.main import main

    raise SystemExit(main(arguments))


def _limit(largest_file: int) -> None:
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
