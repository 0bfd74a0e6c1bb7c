"""Training in processes of its own: to be killed, or to train together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from training_toys import identifiers, ring_training_set, toy_recipe

# children are forked from a process that has imported torch and run nothing: a start costs milliseconds
_context = multiprocessing.get_context("forkserver")
# (the third is what torch imports when deterministic algorithms are asked for)
_context.set_forkserver_preload(
    ["training_toys", "ml.training.__main__", "torch._inductor.config", "safetensors.torch"]
)
_LONGEST = 120.0


def train_in_child(folder: Path, kill_at_step: int | None = None, **options: Any) -> int:
    """The exit code of a process that trains, and is killed by SIGKILL before it takes so manieth a step."""
    return _exit_code(_started(_train, str(folder), kill_at_step, options))


def train_killed_after(folder: Path, seconds: float, **options: Any) -> int:
    """The exit code of a process that trains, and is killed so many seconds after its start."""
    child = _started(_train, str(folder), None, options)
    child.join(seconds)
    if child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
    return _exit_code(child)


def train_together(folder: Path, size: int, kill_at_step: int | None = None, **options: Any) -> list[dict[str, Any]]:
    """The results of so many processes that train one model; none of a process that was killed."""
    results = _context.SimpleQueue()
    children = [
        _started(_train, str(folder), kill_at_step, options, environment, results) for environment in _together(size)
    ]
    codes = [_exit_code(child) for child in children]
    return [results.get() for code in codes if code == 0]


def lose_one_of_two(log: Path, kill_at_step: int, arguments: list[str]) -> list[int]:
    """The exit codes of two processes of the training command, of which the second is killed at a step; what the first
    says on its error stream is in the file."""
    first, second = _together(2)
    children = [
        _started(_train_by_command, arguments, None, first, str(log)),
        _started(_train_by_command, arguments, kill_at_step, second, os.devnull),
    ]
    return [_exit_code(child) for child in children]


def _together(size: int) -> list[dict[str, Any]]:
    """What torchrun puts into the environment of each process."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    return [{"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port} for rank in range(size)]


def _started(target: Any, *arguments: Any) -> multiprocessing.Process:
    child = _context.Process(target=target, args=arguments)
    child.start()
    return child


def _exit_code(child: multiprocessing.Process) -> int:
    child.join(_LONGEST)
    assert child.exitcode is not None, f"still running after {_LONGEST} s"
    return child.exitcode


def _train(
    folder: str,
    kill_at_step: int | None,
    options: dict[str, Any],
    environment: dict[str, Any] | None = None,
    results: Any = None,
) -> None:
    import torch

    from ml.training.checkpoint import Checkpoint
    from ml.training.distributed import joined
    from ml.training.train import train

    _prepare(environment or {}, kill_at_step)
    asked = count(1)
    options = dict(options)
    every = options.pop("checkpoint_every_steps", 1)
    Checkpoint.due = lambda self: self.writes and next(asked) % every == 0
    recipe = toy_recipe(**options.pop("recipe"))
    training_set = ring_training_set(options.pop("users", 60))
    codes = identifiers() if recipe.codes == "identifiers" else None
    with joined(torch.device("cpu")):
        result = train(recipe, training_set, Path(folder), codes=codes, progress=False, threads=1, **options)
    if results is not None:
        results.put(asdict(result))


def _train_by_command(arguments: list[str], kill_at_step: int | None, environment: dict[str, Any], log: str) -> None:
    from ml.training.__main__ import main

    _prepare(environment, kill_at_step)
    sys.stderr = open(log, "w", buffering=1, encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    sys.exit(main(arguments))


def _prepare(environment: dict[str, Any], kill_at_step: int | None) -> None:
    """Set the environment, and have the process killed before it takes so manieth a step."""
    from ml.training import loop

    os.environ.update({"MASTER_ADDR": "127.0.0.1"} | {name: str(value) for name, value in environment.items()})
    steps, set_learning_rate = count(1), loop.set_learning_rate

    def killed_at_a_step(*arguments: Any) -> None:
        if next(steps) == kill_at_step:
            os.kill(os.getpid(), signal.SIGKILL)
        set_learning_rate(*arguments)

    loop.set_learning_rate = killed_at_a_step
