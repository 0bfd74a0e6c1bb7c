"""Episodes: a history to write a list for, and the items that count as hits in it, both from the training histories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.data.sequences import Sequences
from ml.recommender import NO_ITEM

# an item to read, and one to hit
LEAST_ITEMS = 2


@dataclass(frozen=True)
class Episodes:
    """Histories and their targets.

    Attributes:
        histories: at least one item each, oldest first.
        targets: int64 ``[episodes, targets]``, padded with :data:`NO_ITEM`.
    """

    histories: Sequences
    targets: np.ndarray


def draw_episodes(
    sequences: Sequences, rows: np.ndarray, batch_size: int, cut: str, targets: int, generator: np.random.Generator
) -> Episodes:
    """Draw training histories, and cut each into a history and targets.

    Args:
        sequences: training histories.
        rows: those with at least :data:`LEAST_ITEMS` items, int64 ``[rows]``.
        batch_size: episodes to draw; no history is drawn twice where there are enough of them.
        cut: ``random`` cuts at a place after at least one item and before the last one, each as likely; ``last`` cuts
            before the last ``targets`` items, later where nothing would be left to read.
        targets: items after the cut that are targets, at most.
        generator: draws rows and places.
    """
    drawn = generator.choice(rows, batch_size, replace=len(rows) < batch_size)
    chosen = sequences.take(drawn)
    lengths = chosen.lengths
    cuts = generator.integers(1, lengths) if cut == "random" else np.maximum(lengths - targets, 1)
    return episodes_at(chosen, cuts, targets)


def episodes_at(sequences: Sequences, cuts: np.ndarray, targets: int) -> Episodes:
    """Histories up to given cuts, and the items after them.

    Args:
        sequences: ``[episodes]`` rows.
        cuts: items of each row that are its history, int64 ``[episodes]``, from 1 to the length of the row.
        targets: items after the cut that are targets, at most.
    """
    starts = np.asarray(sequences.offsets[:-1])
    offsets = np.concatenate([[0], np.cumsum(cuts)]).astype(np.int64)
    places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], cuts)
    histories = Sequences(np.asarray(sequences.items)[places], offsets, sequences.users)
    after = (starts + cuts)[:, None] + np.arange(targets)
    is_there = after < np.asarray(sequences.offsets[1:])[:, None]
    found = np.asarray(sequences.items)[np.where(is_there, after, 0)].astype(np.int64)
    return Episodes(histories, np.where(is_there, found, NO_ITEM))
