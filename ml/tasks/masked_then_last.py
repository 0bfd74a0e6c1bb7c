"""One item of each sample is masked and to be filled in: at first any item, later the last one (Cao and Lio, "GenRec:
Generative Sequential Recommendation with Large Language Models", arXiv 2407.21191)."""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences
from ml.tasks.batch import Batch, batch_of, history_batch_with_mask
from ml.tasks.every_prefix import EveryPrefix
from ml.tasks.settings import MaskedThenLastSettings


class MaskedThenLast:
    """Samples are the prefixes of a sequence of two items and more, the latest ``max_length`` items of each, with one
    item masked. In the epochs of pre-training it is any of them, drawn anew in each epoch and all with the same
    probability; after that it is the last one, as it is where the next item is asked for.

    Both stages have the same samples, so they differ in the place of the mask alone. Histories to be ranked for end
    with a mask, which counts for ``max_length``.

    Args:
        settings: how long the first stage is, and how many prefixes are taken.
        items: size of the catalogue, and the item index that stands for a mask.
    """

    least_items = 2

    def __init__(self, settings: MaskedThenLastSettings, items: int) -> None:
        self.settings = settings
        self.mask = items
        self.pretraining_epochs = settings.pretraining_epochs
        self._prefixes = EveryPrefix(settings)
        self.start_epoch(1)

    def start_epoch(self, epoch: int) -> None:
        self._pretrains = epoch <= self.pretraining_epochs

    def training_batch(
        self, sequences: Sequences, rows: np.ndarray, max_length: int, generator: np.random.Generator
    ) -> Batch:
        prefixes = self._prefixes.training_batch(sequences, rows, max_length - 1, generator)
        lengths, samples = prefixes.lengths.numpy(), np.arange(len(prefixes.lengths))
        items = np.pad(prefixes.items.numpy(), ((0, 0), (0, 1)))
        items[samples, lengths] = prefixes.targets.items.numpy()
        masked = generator.integers(lengths + 1) if self._pretrains else lengths
        targets = items[samples, masked]
        items[samples, masked] = self.mask
        return batch_of(items, lengths + 1, prefixes.users.numpy(), samples * items.shape[1] + masked, targets)

    def history_batch(self, sequences: Sequences, rows: np.ndarray, max_length: int) -> Batch:
        return history_batch_with_mask(sequences, rows, max_length, self.mask)
