"""Progress of a training: a bar on a terminal where ``tqdm`` is installed, else plain lines."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from ml.training.log import EpochRecord

_SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    """Counts sequences over all epochs, so that its rate is the throughput, validation counted."""

    def update(self, sequences: int) -> None:
        """So many more have been trained on."""

    def set_postfix_str(self, text: str) -> None:
        """Summary at the end of an epoch."""

    def close(self) -> None: ...


def progress_of(title: str, sequences: int, done: int, show: bool) -> Progress:
    """A progress bar on standard error; plain lines where it is no terminal, in whose file a bar would be thousands.

    Args:
        title: shown beside it.
        sequences: to be trained on in all epochs, where training does not stop early.
        done: of them, by the run that is resumed.
        show: whether anything is shown.
    """
    if not show:
        return _Silent()
    if not sys.stderr.isatty():
        return PlainLines(title, sequences, done)
    try:
        from tqdm import tqdm
    except ImportError:
        return PlainLines(title, sequences, done)
    return tqdm(total=sequences, initial=done, desc=title, unit=" sequences", unit_scale=True)


def summary(record: EpochRecord, best_epoch: int) -> str:
    """An epoch in a few words."""
    quality = record.validation_ndcg_at_10
    shown = "" if quality is None else f", validation nDCG@10 {quality:.4f}"
    return f"epoch {record.epoch}, loss {record.loss:.3f}{shown}, best epoch so far {best_epoch or 1}"


class _Silent:
    def update(self, sequences: int) -> None:
        pass

    def set_postfix_str(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class PlainLines:
    """A line every ten seconds, with the last epoch that has ended, and one at the end: throughput and time left."""

    def __init__(self, title: str, sequences: int, done: int, stream: Any = None) -> None:
        self.title = title
        self.sequences = sequences
        self.first = self.done = done
        self.stream = sys.stderr if stream is None else stream
        self.began = self.shown = time.perf_counter()
        self.epoch = ""

    def update(self, sequences: int) -> None:
        self.done += sequences
        if time.perf_counter() - self.shown >= _SECONDS_BETWEEN_LINES:
            self._show()

    def set_postfix_str(self, text: str) -> None:
        self.epoch = f", {text}"

    def close(self) -> None:
        if self.epoch:
            self._show()

    def _show(self) -> None:
        self.shown = time.perf_counter()
        rate = (self.done - self.first) / max(self.shown - self.began, 1e-9)
        left = (self.sequences - self.done) / rate if rate else float("nan")
        done = f"{self.done / self.sequences:.0%}, {rate:,.0f} sequences/s, at most {left:,.0f} s left"
        print(f"{self.title}: {done}{self.epoch}", file=self.stream, flush=True)
