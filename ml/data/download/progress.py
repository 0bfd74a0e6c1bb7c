"""Telling how far a download is."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from typing import TextIO


class Progress:
    """Tells how far a file is: on a terminal in one line that is rewritten, elsewhere a line now and then.

    Args:
        stream: where to; ``None``: standard error.
        seconds: between two lines where the stream is not a terminal.
    """

    def __init__(self, stream: TextIO | None = None, seconds: float = 10.0) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.terminal = self.stream.isatty()
        self.seconds = 0.2 if self.terminal else seconds
        self.window = 15.0
        self.shown = ""
        self.start("", 0, None)

    def start(self, name: str, at: int, total: int | None) -> None:
        """Begin with a file, or go on with it after a break, at a number of bytes."""
        self.name, self.total = name, total
        self.told = time.monotonic()
        self.seen = deque([(self.told, at)])

    def update(self, at: int) -> None:
        """The file has so many bytes now."""
        now = time.monotonic()
        if now - self.told < self.seconds:
            return
        self.told = now
        self.seen.append((now, at))
        while len(self.seen) > 2 and now - self.seen[0][0] > self.window:
            self.seen.popleft()
        if self.terminal:
            # a line that wraps cannot be rewritten; its end says most
            line = self.line(at)[-(shutil.get_terminal_size().columns - 1) :]
            self.stream.write("\r" + line.ljust(len(self.shown)))
            self.shown = line
        else:
            self.stream.write(self.line(at) + "\n")
        self.stream.flush()

    def line(self, at: int) -> str:
        """Bytes, share, rate and time left."""
        (since, before), (now, latest) = self.seen[0], self.seen[-1]
        rate = (latest - before) / (now - since) if now > since else 0.0
        text = f"{self.name}: {byte_text(at)}"
        if self.total:
            text += f" of {byte_text(self.total)} ({100 * at / self.total:.0f}%)"
        text += f", {byte_text(rate)}/s"
        if self.total and rate > 0:
            text += f", {time_text((self.total - at) / rate)} left"
        return text

    def note(self, text: str) -> None:
        """A line of its own, that stays."""
        self.clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def clear(self) -> None:
        """Take the line that is rewritten off the terminal."""
        if self.shown:
            self.stream.write("\r" + " " * len(self.shown) + "\r")
            self.stream.flush()
            self.shown = ""


def byte_text(count: float) -> str:
    """A number of bytes for reading, in decimal units: ``1.2 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def time_text(seconds: float) -> str:
    """A duration for reading: ``3 min 20 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
