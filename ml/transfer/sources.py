"""The training histories of several datasets as sequences of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.data.item_text import item_text_digest
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.text.shared_space import TextSpace


@dataclass(frozen=True)
class Sources:
    """Several datasets as one. Items of equal text are one item, whichever dataset they are of: to a model that reads
    text alone they are the same.

    Attributes:
        text: vector of each item, float32 ``[items, text dimensions]``.
        histories: training histories of all users of all datasets, without items whose text says nothing.
    """

    text: np.ndarray
    histories: Sequences


def mixed(training_sets: Sequence[TrainingSet], space: TextSpace) -> Sources:
    """The datasets as one. Only training histories and texts are read.

    Args:
        training_sets: with item text.
        space: encodes the texts.
    """
    texts = [_texts_of(training_set) for training_set in training_sets]
    different = sorted({text for of_one in texts for text in of_one})
    vectors = space.vectors(different)
    known = vectors.any(axis=1)
    numbers = np.where(known, np.cumsum(known) - 1, -1)
    place = dict(zip(different, numbers.tolist(), strict=True))
    items, lengths = [], []
    for of_one, training_set in zip(texts, training_sets, strict=True):
        number = np.array([place[text] for text in of_one], dtype=np.int32)
        flat = number[training_set.train.items]
        kept = np.concatenate([[0], np.cumsum(flat >= 0)])
        items.append(flat[flat >= 0])
        lengths.append(np.diff(kept[training_set.train.offsets]))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    return Sources(vectors[known], Sequences(np.concatenate(items), offsets))


def described(training_set: TrainingSet) -> dict[str, Any]:
    """A source, as JSON values: what is read of it, by digest, and how much that is."""
    return {
        "dataset": training_set.dataset,
        "train": train_digest(training_set),
        "item_text": item_text_digest(training_set.item_ids, _texts_of(training_set)),
        "users": int((training_set.train.lengths > 0).sum()),
        "items": training_set.items,
        "interactions": len(training_set.train.items),
    }


def train_digest(training_set: TrainingSet) -> str:
    """SHA-256 of the training histories, whatever is held out."""
    digest = hashlib.sha256(b"raw2rank-training-histories-1")
    for array in (training_set.train.items, training_set.train.offsets):
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _texts_of(training_set: TrainingSet) -> tuple[str, ...]:
    if training_set.item_text is None:
        raise ValueError(f"{training_set.dataset} was loaded without its item text: add it with TrainingSet.with_text")
    return training_set.item_text
