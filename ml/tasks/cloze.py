"""Masked items are to be filled in (Sun et al., BERT4Rec, CIKM 2019, section 3.6)."""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences
from ml.tasks.batch import Batch, batch_of, history_batch_with_mask, padded, random_places, users_of
from ml.tasks.settings import ClozeSettings


class Cloze:
    """Of each sequence some items are masked, and each is predicted from its own place; drawn anew for each batch.

    Histories to be ranked for end with a mask, and are ranked by the state there; it counts for ``max_length``.

    Args:
        settings: how many are masked.
        items: size of the catalogue, and the item index that stands for a mask.
    """

    # one to mask and one to see
    least_items = 2

    def __init__(self, settings: ClozeSettings, items: int) -> None:
        self.settings = settings
        self.mask = items

    def training_batch(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> Batch:
        ends = sequences.offsets[rows + 1]
        lengths = np.minimum(ends - sequences.offsets[rows], max_length)
        items, _ = padded(sequences.items, ends - lengths, lengths)
        masked = self._masked(lengths, items.shape[1], generator)
        targets = items[masked]
        return batch_of(
            np.where(masked, self.mask, items), lengths, users_of(sequences, rows), np.flatnonzero(masked), targets
        )

    def history_batch(self, sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
        return history_batch_with_mask(sequences, rows, max_length, self.mask)

    def _masked(self, lengths: np.ndarray, width: int, generator: np.random.Generator) -> np.ndarray:
        """Which places are masked, bool ``[batch, width]``, none of them padding."""
        places = np.arange(width)
        counts = np.rint(self.settings.masked_share * lengths).clip(1, lengths - 1)
        masked = random_places(counts, lengths, width, generator)
        last_alone = generator.random(len(lengths)) < self.settings.last_item_share
        masked[last_alone] = places == lengths[last_alone, None] - 1
        return masked
