"""Doing some jobs at the same time, each in one of a few Python processes.

The processes are started afresh and import what a job needs, and nothing else: unlike those of
:mod:`multiprocessing` they do not import the program that started them once more, which takes longer than many
a landing (an orchestrator), and goes wrong in a script without a main guard. A process ends when its parent
does.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TypeVar

from ml.data.landing.file_lines import LandingError

_Result = TypeVar("_Result")

_is_worker = False

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ml.data.landing.processes import serve; serve()"


def run_in_processes(jobs: Sequence[Callable[[], _Result]], processes: int) -> list[_Result]:
    """Call the jobs without arguments in so many processes, begun in their order; what each returned, in it.

    Jobs, results and exceptions have to be fit for :meth:`multiprocessing.connection.Connection.send`, and what a job
    names has to be importable.

    Raises:
        Exception: what a job raised, the first in their order of those that have failed; the others are ended.
        LandingError: a process died.
    """
    with _started(min(processes, len(jobs))) as (run, kill), ThreadPoolExecutor(processes) as threads:
        futures = [threads.submit(run, job) for job in jobs]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            errors = [error for future in futures if future in done and (error := future.exception())]
        finally:
            for future in futures:
                future.cancel()
            if not all(future.done() for future in futures):
                # the threads wait for answers that nobody wants any more
                kill()
        if errors:
            raise errors[0]
        return [future.result() for future in futures]


def results_in_order(jobs: Iterable[Callable[[], _Result]], processes: int) -> Iterator[_Result]:
    """Call jobs as they come in so many processes; what each returned, in their order.

    At most two jobs a process are taken in advance, so that memory stays bounded. The demands on jobs are those of
    :func:`run_in_processes`.

    Raises:
        Exception: what a job raised, when its turn has come.
        LandingError: a process died.
    """
    with _started(processes) as (run, kill), ThreadPoolExecutor(processes) as threads:
        waiting: deque[Future[_Result]] = deque()
        try:
            for job in jobs:
                waiting.append(threads.submit(run, job))
                if len(waiting) >= 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            for future in waiting:
                future.cancel()
            # the threads wait for answers that nobody wants any more
            kill()
            raise


@contextmanager
def _started(processes: int) -> Iterator[tuple[Callable[[Callable[[], _Result]], _Result], Callable[[], None]]]:
    """Some processes: what calls a job in the next that is free, and what kills them all; ended with the block."""
    started: list[_Process] = []
    idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()

    def run(job: Callable[[], _Result]) -> _Result:
        process = idle.get()
        try:
            return process.run(job)
        finally:
            idle.put(process)

    def kill() -> None:
        for process in started:
            process.kill()

    try:
        for _ in range(processes):
            started.append(_Process())
            idle.put(started[-1])
        yield run, kill
    finally:
        for process in started:
            process.close()


def is_worker() -> bool:
    """Whether this is one of the processes, which start none of their own."""
    return _is_worker


class _Process:
    def __init__(self) -> None:
        self._connection, other_end = multiprocessing.Pipe()
        with other_end:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), str(other_end.fileno())],
                pass_fds=[other_end.fileno()],
            )

    def run(self, job: Callable[[], _Result]) -> _Result:
        try:
            self._connection.send(job)
            error, result = self._connection.recv()
        except (BrokenPipeError, ConnectionResetError, EOFError) as problem:
            code = self._process.wait()
            raise LandingError(
                f"a process that read a dump died (exit status {code}); where the machine ran out of memory, land "
                "with fewer processes"
            ) from problem
        if error is not None:
            raise error
        return result

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._connection.close()
        self._process.wait()


def serve() -> None:
    """Run a worker process: execute incoming jobs until there are no more."""
    global _is_worker
    _is_worker = True
    connection = Connection(int(sys.argv[2]))
    # what a job prints is no answer of the program that asked for it
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
    threading.Thread(target=_take_jobs, args=(connection, jobs), daemon=True).start()
    while True:
        job = jobs.get()
        answer: tuple[Exception | None, object]
        try:
            answer = (None, job())
        except Exception as error:  # noqa: BLE001 - raised again by the parent
            if not isinstance(error, LandingError):
                error.add_note(f"in a process of its own:\n{traceback.format_exc()}")
            answer = (error, None)
        try:
            connection.send(answer)
        except Exception as problem:  # noqa: BLE001 - raised again by the parent
            unsent = RuntimeError(f"{answer} cannot be sent to another process: {problem}")
            connection.send((unsent, None))


def _take_jobs(connection: Connection, jobs: queue.SimpleQueue) -> None:
    while True:
        try:
            job = connection.recv()
        except (EOFError, ConnectionResetError):
            # there is nobody left to answer
            os._exit(0)
        except Exception as error:  # noqa: BLE001 - raised again by the parent
            jobs.put(_Failing(error))
        else:
            jobs.put(job)


class _Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self) -> None:
        raise self._error
