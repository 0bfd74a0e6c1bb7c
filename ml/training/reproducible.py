"""Equal input, seed and number of threads: equal weights, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_CPU = torch.device("cpu")


@contextmanager
def reproducible(threads: int, device: torch.device = _CPU) -> Iterator[None]:
    """Deterministic algorithms and a fixed number of threads; torch is left as it was found.

    The number of threads is fixed, not that of the cores, since it decides the order in which some sums are
    taken, and so the last bits of the weights. On a GPU, operations without a deterministic form only warn, and
    float32 means float32: no TF32.
    """
    before = torch.get_num_threads()
    # use_deterministic_algorithms does the same, and imports a compiler first, which takes seconds
    deterministic = torch.get_deterministic_debug_mode()
    # a property of the module, which type checkers do not see
    filling: Any = torch.utils.deterministic
    fill = filling.fill_uninitialized_memory
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []), _without_tf32(on_gpu):
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode("warn" if on_gpu else "error")
        # fills every new tensor to expose reads of unwritten memory, of which there are none: a sixth of the time
        filling.fill_uninitialized_memory = False
        try:
            yield
        finally:
            filling.fill_uninitialized_memory = fill
            torch.set_deterministic_debug_mode(deterministic)
            torch.set_num_threads(before)


@contextmanager
def _without_tf32(on_gpu: bool) -> Iterator[None]:
    if not on_gpu:
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def generator_for(seed: int, *place: int) -> np.random.Generator:
    """The random numbers of one place of a run, and torch's from now on.

    Places are ``(0,)`` for what comes before training, ``(epoch,)`` for its shuffling, and those of
    :func:`generators_of_step`. Each starts from its own seed, so that a resumed run draws what an uninterrupted one
    would have, and no state of a generator has to be kept.
    """
    sequence = np.random.SeedSequence([seed, *place])
    _seed_torch(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))
    return np.random.default_rng(sequence)


def generators_of_step(seed: int, epoch: int, batch: int, rank: int) -> tuple[np.random.Generator, np.random.Generator]:
    """The random numbers of one step: for the batch, and for its loss; and torch's, for dropout.

    Args:
        seed: of the run.
        epoch: from 1.
        batch: of the epoch, from 0.
        rank: of the process. Each draws its own for the batch and dropout; the loss's are the same in all of them,
            so that negatives that a batch shares are shared by all its parts. (Negatives of single positions are
            then equal from part to part too: each is drawn as it should be, but parts are not independent.)
    """
    task = generator_for(seed, epoch, 1 + batch, 1 + rank)
    return task, np.random.default_rng(np.random.SeedSequence([seed, epoch, 1 + batch]))


def _seed_torch(seed: int) -> None:
    # torch.manual_seed does the same for every kind of device there is, and takes longer than a tenth of a step
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
