"""Execution options of an alignment. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ml.alignment.log import AlignmentRecord
from ml.training.runtime import DEFAULT_THREADS, DEVICES


@dataclass(frozen=True)
class AlignmentExecution:
    """Settings of the machine, not of the policies.

    Attributes:
        threads: torch threads. Policies are equal bit for bit for equal input, seed and number of threads.
        device: ``cpu``, ``cuda``, or ``auto``: CUDA where there is a GPU.
        checkpoint_seconds: at least so long between two checkpoints, 0 for one after each step; ``None`` keeps none.
        log_to: folder that the log is written to as it grows; ``None`` for none.
        tell: called with each record of the log.
    """

    threads: int = DEFAULT_THREADS
    device: str = "cpu"
    checkpoint_seconds: float | None = 60.0
    log_to: Path | None = None
    tell: Callable[[AlignmentRecord], None] | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        if self.checkpoint_seconds is not None and self.checkpoint_seconds < 0:
            raise ValueError(f"checkpoint_seconds must not be negative, it is {self.checkpoint_seconds}")
