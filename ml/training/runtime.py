"""Execution options of a training: threads, device, precision, checkpoints. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ml.training.log import EpochRecord

# One thread trains a small model as fast as two, and does not slow down where other work keeps the cores busy; several
# models are trained side by side instead.
DEFAULT_THREADS = 1
DEVICES = ("cpu", "cuda", "auto")
PRECISIONS = ("float32", "bfloat16")
NONE, FULL = "none", "full"
SHARDINGS = (NONE, FULL)


@dataclass(frozen=True)
class Execution:
    """Settings of the machine, not of the model.

    Attributes:
        threads: torch threads. Weights are equal bit for bit for equal input, seed and number of threads, so this is
            a setting with a fixed default, not the number of cores.
        device: ``cpu``, ``cuda``, or ``auto``: CUDA where there is a GPU.
        precision: ``float32``, or ``bfloat16`` for the products of the training steps (autocast); weights, optimiser
            and validation stay in float32.
        sharding: ``full`` for processes that each hold a part of the weights and of the optimiser's state (FSDP2), for
            tables that fit no GPU together with those; ``none`` for all weights in each. One process holds everything.
        compile: let ``torch.compile`` fuse the model's forward and backward passes; pays on a GPU.
        progress: show a progress bar.
        checkpoints: folder to keep checkpoints of unfinished training in; ``None`` keeps none.
        checkpoint_seconds: at least so long between two of them; 0 for one after each step.
        log_to: folder that the log is written to as it grows, as JSON lines and for TensorBoard; ``None`` for none.
        tell: called with the record of each epoch as it ends, in the first process alone.
    """

    threads: int = DEFAULT_THREADS
    device: str = "cpu"
    precision: str = "float32"
    sharding: str = NONE
    compile: bool = False
    progress: bool = False
    checkpoints: Path | None = None
    checkpoint_seconds: float = 60.0
    log_to: Path | None = None
    tell: Callable[[EpochRecord], None] | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if self.sharding not in SHARDINGS:
            raise ValueError(f"sharding must be one of {', '.join(SHARDINGS)}, not {self.sharding!r}")
        if self.compile and self.sharding != NONE:
            raise ValueError(f"sharding {self.sharding} and compile do not go together: leave one of them out")
        if self.checkpoint_seconds < 0:
            raise ValueError(f"checkpoint_seconds must not be negative, it is {self.checkpoint_seconds}")
