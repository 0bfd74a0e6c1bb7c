"""Exit codes of commands: errors are printed as one sentence, signals are recognised.

Each command's ``main`` is wrapped by :func:`ends_plainly`, and nothing else turns an error into an exit code. Exit
codes: what the command returned; 1 after an error; 128 plus the number of the signal after Ctrl-C (130) or SIGTERM
(143).
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from orchestration.called_as import as_called

EXIT_FAILED = 1
_STOPPED_BY: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stopped(KeyboardInterrupt):
    """The command was told to stop; ``number`` is the signal."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = number


def ends_plainly(command: Callable[..., int | None]) -> Callable[..., int]:
    """Wrap the ``main`` of a command, so that it ends with an exit code and never with a stack trace.

    The stack trace of an error that was not foreseen goes to a file, which the message names;
    ``RAW2RANK_TRACEBACK=1`` shows those of all errors on the terminal.
    """

    @functools.wraps(command)
    def main(*arguments: list[str] | None) -> int:
        with _signals() as received:
            try:
                return command(*arguments) or 0
            except KeyboardInterrupt as stop:
                number = _number(stop, received())
                _say(
                    f"stopped by {_STOPPED_BY.get(number, 'a signal')}; nothing half-written is left, and the same "
                    "command goes on from there"
                )
                return 128 + number
            except BrokenPipeError:
                # whoever read the output has gone; what is still to be flushed must not raise once more
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return 128 + signal.SIGPIPE
            except Exception as error:  # noqa: BLE001 - the one place where every error ends
                _say(f"error: {_reason(error)}")
                return EXIT_FAILED

    return main


def _reason(error: Exception) -> str:
    from orchestration.faults import TRACEBACK_VARIABLE, reason
    from orchestration.paths import Workspace

    if os.environ.get(TRACEBACK_VARIABLE, "") not in ("", "0"):
        traceback.print_exception(error)
    return reason(error, Workspace.current().home)


def _say(text: str) -> None:
    print(as_called(text), file=sys.stderr, flush=True)


def _number(stop: KeyboardInterrupt, received: list[int]) -> int:
    """The signal that stopped the command: the last one that came, whoever handled it."""
    if received:
        return received[-1]
    return stop.number if isinstance(stop, Stopped) else signal.SIGINT


@contextmanager
def _signals() -> Iterator[Callable[[], list[int]]]:
    """Raise :class:`Stopped` for SIGINT and SIGTERM; yields what tells the numbers of those that came.

    While Dagster executes a run it has handlers of its own, which know nothing of the number, and after it SIGTERM is
    handled as SIGINT is. The numbers therefore come from the pipe that Python writes each signal to.
    """
    if threading.current_thread() is not threading.main_thread():
        yield list
        return
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = {number: signal.getsignal(number) for number in _STOPPED_BY}
    woken_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    def received() -> list[int]:
        try:
            return [number for number in os.read(reader, 4096) if number in _STOPPED_BY]
        except BlockingIOError:
            return []

    try:
        for number in _STOPPED_BY:
            signal.signal(number, stop)
        yield received
    finally:
        signal.set_wakeup_fd(woken_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
