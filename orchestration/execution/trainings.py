"""Trainings of one run side by side, each in a process of its own, started before the steps that ask for them.

The steps of a run come one after the other, and a small model keeps one core busy and no more: the others would wait.
So the first model of a run starts the trainings of all that can start, as many at once as there are cores for, and each
step waits for its own. Weights are those of a training in the process of the run, bit for bit.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import dagster as dg

from ml.limits import processors
from ml.training.log import FILE
from ml.training.runtime import DEFAULT_THREADS
from orchestration.execution.training_process import failure_of, run

# Seconds between two looks at a training that a step waits for.
_PAUSE = 0.2
# Seconds that a training has to end in once it was told to; one that ignores that is killed.
_TO_END_IN = 10.0


@dataclass(frozen=True)
class _Started:
    """A training that waits for a core, is under way or has ended, and what it says of its epochs."""

    ended: Future[str | None]
    said: SimpleQueue[str] = field(default_factory=SimpleQueue)


class Trainings:
    """The trainings that a run has started.

    Args:
        cores: that they share.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._pool: ThreadPoolExecutor | None = None
        self._started: dict[str, _Started] = {}
        self._finished: set[str] = set()
        self._processes: set[subprocess.Popen] = set()
        self._closed = False

    def __contains__(self, name: str) -> bool:
        return name in self._started

    def has_finished(self, name: str) -> bool:
        """Whether a training was waited for to its end, however it ended."""
        return name in self._finished

    def at_once(self, threads: int = DEFAULT_THREADS) -> int:
        """How many processes of so many threads train at the same time, at least one."""
        return max(1, self.cores // threads)

    def start(self, name: str, command: Sequence[str], lock: int | None, threads: int = DEFAULT_THREADS) -> None:
        """Start a training, or let it wait for one of those before it to end; not twice.

        Args:
            name: of the recipe.
            command: that trains, without the option for the folder of its log.
            lock: an open file that its process keeps open while it lives (the lock of the dataset), if any.
            threads: of the training, the same for all of a run.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.at_once(threads), thread_name_prefix="training")
        if name not in self._started:
            said: SimpleQueue[str] = SimpleQueue()
            self._started[name] = _Started(self._pool.submit(self._train, list(command), lock, said), said)

    def finish(self, name: str, tell: Callable[[str], None]) -> str | None:
        """Wait for a training to end, telling what it says of its epochs; what went wrong, or ``None``.

        Raises:
            KeyError: it was not started.
        """
        started = self._started[name]
        while True:
            try:
                failure = started.ended.result(timeout=_PAUSE)
            except NotYet:
                _pass_on(started.said, tell)
                continue
            _pass_on(started.said, tell)
            # whoever asks for it again has it trained again
            del self._started[name]
            self._finished.add(name)
            return failure

    def close(self) -> None:
        """Stop what still trains, and wait until it has."""
        self._closed = True
        for process in list(self._processes):
            process.terminate()
        until = time.monotonic() + _TO_END_IN
        for process in list(self._processes):
            try:
                process.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _train(self, command: list[str], lock: int | None, said: SimpleQueue[str]) -> str | None:
        with tempfile.TemporaryDirectory(prefix="raw2rank-") as log:
            code, last_words = run(
                [*command, "--log-to", log], said.put, Path(log) / FILE, stdin=lock, began=self._watch
            )
        return failure_of(code, last_words)

    def _watch(self, process: subprocess.Popen) -> None:
        self._processes.add(process)
        if self._closed:
            process.kill()


def _pass_on(said: SimpleQueue[str], tell: Callable[[str], None]) -> None:
    while True:
        try:
            tell(said.get_nowait())
        except Empty:
            return


@contextmanager
def trainings_of_a_run() -> Iterator[Trainings]:
    """As many at once as the cores hold; what still trains at the end is stopped."""
    trainings = Trainings(processors())
    try:
        yield trainings
    finally:
        trainings.close()


@dg.resource(description="The trainings of a run, side by side where there are cores for it.")
def trainings(_: dg.InitResourceContext) -> Iterator[Trainings]:
    with trainings_of_a_run() as started:
        yield started
