"""Equal input, seed and number of threads: equal weights, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Deterministic algorithms and a fixed number of threads; torch is left as it was found.

    The number of threads is fixed, not that of the cores, since it decides the order in which some sums are
    taken, and so the last bits of the weights.
    """
    before = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    with torch.random.fork_rng():
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        # fills every new tensor to expose reads of unwritten memory, of which there are none: a sixth of the time
        torch.utils.deterministic.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.utils.deterministic.fill_uninitialized_memory = fill
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.set_num_threads(before)


def generator_for(seed: int, epoch: int) -> np.random.Generator:
    """The random numbers of one epoch (0: before training), and torch's global seed with them.

    Each epoch starts from its own seed, so that a resumed run draws what an uninterrupted one would have.
    """
    sequence = np.random.SeedSequence([seed, epoch])
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))
    return np.random.default_rng(sequence)
