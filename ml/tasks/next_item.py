"""After each item of a sequence, the next one (Kang and McAuley, ICDM 2018, section 3.5)."""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences
from ml.tasks.batch import Batch, history_batch, next_item_batch


class NextItem:
    """All items but the last are shown, each state predicts the item that follows."""

    least_items = 2

    def training_batch(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> Batch:
        return next_item_batch(sequences, rows, max_length)

    def history_batch(self, sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
        return history_batch(sequences, rows, max_length)
