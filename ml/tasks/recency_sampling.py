"""Some items, late ones rather than early ones, are predicted from the others.

Petrov and Macdonald, "Effective and Efficient Training for Sequential Recommendation using Recency Sampling",
RecSys 2022, arXiv 2207.02643, section 4.
"""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences
from ml.tasks.batch import Batch, batch_of, history_batch, padded, times_of, users_of
from ml.tasks.settings import RecencySamplingSettings


class RecencySampling:
    """Items drawn from a sequence are taken out of it, and predicted from the state after the last that is left.

    Draws are made with replacement, item ``k`` of ``n`` with a probability in proportion to ``recency ** (n - k)``;
    drawn twice it is one target, and so is an item that stands at two of the places drawn. The order of the targets
    does not matter. Drawn anew for each batch.

    Args:
        settings: how many draws, and how much late items are preferred.
    """

    # one to take out and one to see
    least_items = 2

    def __init__(self, settings: RecencySamplingSettings) -> None:
        self.settings = settings

    def training_batch(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> Batch:
        ends = sequences.offsets[rows + 1]
        # at least one is taken out, so one more may be looked at
        lengths = np.minimum(ends - sequences.offsets[rows], max_length + 1)
        items, real = padded(sequences.items, ends - lengths, lengths)
        sampled = self._sampled(lengths, items.shape[1], generator)
        left = real & ~sampled
        counts = left.sum(axis=1)
        starts = np.cumsum(counts) - counts
        inputs, _ = padded(items[left], starts, counts)
        span = items.max() + 1
        states, targets = np.divmod(np.unique(np.nonzero(sampled)[0] * span + items[sampled]), span)
        last = np.arange(len(rows)) * inputs.shape[1] + counts - 1
        times = times_of(sequences, ends - lengths, lengths)
        if times is not None:
            times = times[left][starts[:, None] + np.minimum(np.arange(inputs.shape[1]), counts[:, None] - 1)]
        return batch_of(inputs, counts, users_of(sequences, rows), last, targets, states, times)

    def history_batch(self, sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
        return history_batch(sequences, rows, max_length)

    def _sampled(self, lengths: np.ndarray, width: int, generator: np.random.Generator) -> np.ndarray:
        """Which places are drawn, bool ``[batch, width]``: of each row at least one, never all, none of them
        padding."""
        draws = np.maximum(1, (self.settings.sampled_share * lengths).astype(np.int64))
        drawn_rows = np.repeat(np.arange(len(lengths)), draws)
        length, uniform = lengths[drawn_rows], generator.random(len(drawn_rows))
        back = np.minimum(self._distance_from_the_end(uniform, length), length - 1)
        sampled = np.zeros((len(lengths), width), dtype=bool)
        sampled[drawn_rows, length - 1 - back] = True
        return sampled

    def _distance_from_the_end(self, uniform: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Uniform numbers below 1 as places of rows so long, 0 for the last, int64 ``[draws]``."""
        recency = self.settings.recency
        if recency == 1:
            return (uniform * length).astype(np.int64)
        # geometric, cut at the length: the distribution function 1 - recency ** (place + 1), inverted
        return (np.log1p(-uniform * (1 - recency**length)) / np.log(recency)).astype(np.int64)
