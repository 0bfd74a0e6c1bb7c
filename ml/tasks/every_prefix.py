"""Every prefix of a sequence is a sample of its own, with one target: the item after it.

Trains models whose states depend on later items of their window, such as BSARec and encoder-decoders: the window of a
sample ends before its target, so no state sees it.
"""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences
from ml.tasks.batch import Batch, batch_of, history_batch, padded, times_of, users_of
from ml.tasks.settings import EveryPrefixSettings


class EveryPrefix:
    """A row of ``n`` items becomes ``n - 1`` samples: the latest ``max_length`` items before each item but the first,
    and that item as the target of the state after the last of them.

    Unlike :class:`~ml.tasks.next_item.NextItem` it has a target for every item but the first of a row longer than
    ``max_length + 1`` too. The samples of a row stand next to each other in the batch, shortest prefix first.

    Args:
        settings: how many prefixes of a row are taken in an epoch.
    """

    least_items = 2

    def __init__(self, settings: EveryPrefixSettings) -> None:
        self.settings = settings

    def training_batch(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> Batch:
        of_row, prefixes = self._samples(sequences.offsets[rows + 1] - sequences.offsets[rows] - 1, generator)
        places = sequences.offsets[rows][of_row] + prefixes
        lengths = np.minimum(prefixes, max_length)
        items, _ = padded(sequences.items, places - lengths, lengths)
        last = np.arange(len(lengths)) * items.shape[1] + lengths - 1
        targets = sequences.items[places].astype(np.int64)
        times = times_of(sequences, places - lengths, lengths)
        return batch_of(items, lengths, users_of(sequences, rows)[of_row], last, targets, times=times)

    def history_batch(self, sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
        return history_batch(sequences, rows, max_length)

    def _samples(self, counts: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The prefixes of a batch.

        Args:
            counts: number of prefixes of each row, int64 ``[rows]``.
            generator: draws those that are taken, where a row has more than the limit.

        Returns:
            Row of each sample, and number of items of its prefix, both int64 ``[samples]``, ascending.
        """
        of_row = np.repeat(np.arange(len(counts)), counts)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        number = np.arange(len(of_row)) - starts
        limit = self.settings.prefixes
        if limit and counts.max() > limit:
            # those with the smallest of independent draws are a uniform sample without replacement
            order = np.lexsort((generator.random(len(of_row)), of_row))
            # place i of the order is the (i - start of its row)-th smallest draw of the row
            taken = np.sort(order[number < limit])
            of_row, number = of_row[taken], number[taken]
        return of_row, number + 1
