"""Vectors for items of which the training interactions know nothing: those of items with similar text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet

NEIGHBOURS = 10
_CELLS_AT_ONCE = 1 << 22  # 32 MiB of float64 cosines


def fill_from_text_neighbours(vectors: np.ndarray, known: np.ndarray, training_set: TrainingSet) -> np.ndarray:
    """Give items without a vector the mean of the vectors of items with similar text.

    Without it all of these items would be at zero, and share one identifier.

    Args:
        vectors: rows of length 1, ``[items, dimensions]``.
        known: which of them say something of their item, bool ``[items]``.
        training_set: with item text, or without.

    Returns:
        A copy in which each other row is the mean of the ten known items whose texts have the highest cosine with its
        own, of those with a cosine above 0; equal cosines in the order of the items. The mean of all known rows where
        there are no such items (the first known row, should they cancel out); zero where no row is known.
    """
    filled = np.where(known[:, None], vectors, 0.0)
    if known.all() or not known.any():
        return filled
    mean = filled[known].mean(axis=0)
    filled[~known] = mean if _is_some(mean) else filled[known][0]
    from ml.text.vectors import texts_known

    described = texts_known(training_set)
    wanted, candidates = np.flatnonzero(~known & described), np.flatnonzero(known & described)
    if len(wanted) and len(candidates):
        from ml.text.vectors import text_vectors

        texts = np.asarray(text_vectors(training_set), dtype=np.float64)
        step = max(1, _CELLS_AT_ONCE // len(candidates))
        for start in range(0, len(wanted), step):
            block = wanted[start : start + step]
            _fill_block(filled, block, candidates, texts)
    return filled


def _fill_block(filled: np.ndarray, block: np.ndarray, candidates: np.ndarray, texts: np.ndarray) -> None:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        cosines = texts[block] @ texts[candidates].T
    # equal texts may differ in the last bits of their products
    nearest = np.argsort(-np.round(cosines, 9), axis=1, kind="stable")[:, :NEIGHBOURS]
    for item, places, row in zip(block, nearest, cosines, strict=True):
        similar = places[row[places] > 1e-9]
        mean = filled[candidates[similar]].mean(axis=0) if len(similar) else np.zeros(filled.shape[1])
        # where they cancel out the mean of all stays
        if _is_some(mean):
            filled[item] = mean


def _is_some(vector: np.ndarray) -> bool:
    return bool(np.abs(vector).max(initial=0) > 1e-9)
