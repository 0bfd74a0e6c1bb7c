"""The threads that compute answers, and how many requests may wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


class Busy(Exception):
    """As many requests wait as may wait."""


class Workers:
    """Threads that compute, in the order of asking.

    A service that takes every request makes all of them wait longer and longer once more come than it can compute,
    until nobody waits for the answers any more. With a bound, those that it takes are answered soon, and the others
    learn at once that they have to ask again.

    To be used from one event loop.

    Args:
        threads: answers that are computed at the same time.
        most_waiting: requests that may wait for a thread.
    """

    def __init__(self, threads: int, most_waiting: int) -> None:
        # the threads end when they are not used any more
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="answers")
        self._count = threads
        self._most_waiting = most_waiting
        self._taken = 0

    @property
    def waiting(self) -> int:
        """Requests that wait for a thread."""
        return max(0, self._taken - self._count)

    async def run(self, work: Callable[[], _T]) -> _T:
        """What the work returns.

        Raises:
            Busy: too many wait; nothing is done.
        """
        if self._taken >= self._count + self._most_waiting:
            raise Busy
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._taken -= 1
