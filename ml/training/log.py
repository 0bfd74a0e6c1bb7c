"""The log of a training run, and where it is shown while it grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ml.training.json_lines import GrowingFile, read_lines, write_lines

FILE = "training_log.jsonl"


@dataclass(frozen=True)
class EpochRecord:
    """One line of the training log.

    Attributes:
        fit_on: ``train``, or ``train+validation`` in a final fit that follows.
        epoch: from 1.
        step: optimiser steps taken so far.
        loss: mean training loss over the epoch's states.
        validation_ndcg_at_10: over the whole catalogue; ``None`` where it was not measured.
        seconds: since training began, in all runs of one that was killed and started again.
        sequences_per_second: trained in this epoch, validation not counted.
        started_from: in the first epoch of a warm start, the release whose weights it started from; empty in all other
            epochs, whose lines leave it out.
    """

    fit_on: str
    epoch: int
    step: int
    loss: float
    validation_ndcg_at_10: float | None
    seconds: float
    sequences_per_second: float
    started_from: str = ""

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        if not self.started_from:
            del values["started_from"]
        return values

    def in_words(self) -> str:
        """One line for a log that people read."""
        quality = self.validation_ndcg_at_10
        validated = "" if quality is None else f", validation nDCG@10 {quality:.4f}"
        start = f"started from the weights of {self.started_from}: " if self.started_from else ""
        return (
            f"{start}epoch {self.epoch} on {self.fit_on}, loss {self.loss:.3f}{validated}, "
            f"{self.sequences_per_second:,.0f} sequences/s"
        )


def write_log(records: Iterable[EpochRecord], file: Path) -> None:
    """One line of JSON a record."""
    write_lines(records, file)


def read_log(file: Path) -> list[EpochRecord]:
    """Read what :func:`write_log` wrote."""
    return [EpochRecord(**line) for line in read_lines(file)]


class GrowingLog:
    """The log in a folder, a line as soon as an epoch has ended: ``training_log.jsonl``, and where the package
    ``tensorboard`` is installed event files under ``tensorboard/``.

    Args:
        folder: made where there is none; ``None`` writes nothing.
        known: the records of earlier phases, and of the run that is resumed.
        tell: called with each record that is added.
    """

    def __init__(
        self,
        folder: Path | None,
        known: Iterable[EpochRecord] = (),
        tell: Callable[[EpochRecord], None] | None = None,
    ) -> None:
        self.file, self.board, self.tell = GrowingFile(None if folder is None else folder / FILE), None, tell
        if folder is None:
            return
        # event files are only ever added to: what is known stands in those of the phase, or the run, before
        is_known_to_board = any((folder / "tensorboard").glob("events*"))
        self.board = tensorboard_writer(folder / "tensorboard")
        for record in known:
            self.file.add(record)
            if self.board is not None and not is_known_to_board:
                add_to_board(self.board, record)

    def add(self, record: EpochRecord) -> None:
        """One more line."""
        self.file.add(record)
        if self.board is not None:
            add_to_board(self.board, record)
            self.board.flush()
        if self.tell is not None:
            self.tell(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.board is not None:
            self.board.close()


def tensorboard_writer(folder: Path) -> Any | None:
    """Writes TensorBoard event files into ``folder``; ``None`` where the package ``tensorboard`` is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def add_to_board(board: Any, record: EpochRecord) -> None:
    """Loss, validation nDCG@10 and sequences per second of an epoch, at its step; curves of the final fit apart."""
    for name in ("loss", "validation_ndcg_at_10", "sequences_per_second"):
        value = getattr(record, name)
        if value is not None:
            board.add_scalar(f"{name}/{record.fit_on}", value, record.step, walltime=time.time())


def write_board(records: Iterable[EpochRecord], folder: Path) -> bool:
    """A finished log as TensorBoard event files; whether the package ``tensorboard`` is there to write them."""
    board = tensorboard_writer(folder)
    if board is None:
        return False
    for record in records:
        add_to_board(board, record)
    board.close()
    return True
