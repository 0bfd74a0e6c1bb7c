"""Random numbers that are a function of a seed, a history and an item.

A generator that is advanced row by row would give a user another list when other users are asked for beside
it. Here a row's numbers depend on its own history alone, so neither blocks nor the order of rows matter;
equal histories have equal numbers.
"""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_CELLS_AT_ONCE = 1 << 17  # 1 MiB of uint64: stays in the second-level cache


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), in place; uint64, any shape."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def history_keys(histories: Sequences, seed: int) -> np.ndarray:
    """A 64-bit key of each history (its items and their order) and the seed, uint64 ``[rows]``."""
    lengths = histories.lengths
    position = np.arange(len(histories.items)) - np.repeat(histories.offsets[:-1], lengths)
    items = histories.items.astype(np.uint64)
    hashed = _mix(_mix(items * _GOLDEN) + (position.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(hashed, dtype=np.uint64)])
    sums = total[histories.offsets[1:]] - total[histories.offsets[:-1]]
    salt = _mix(np.array([seed % (1 << 64)], dtype=np.uint64) + _GOLDEN)
    return _mix(_mix(sums + lengths.astype(np.uint64) * _GOLDEN) ^ salt)


def uniform(keys: np.ndarray, items: int) -> np.ndarray:
    """Numbers in the open interval (0, 1), 32 random bits each, float64 ``[rows, items]``.

    Row ``r`` is the SplitMix64 stream that starts at ``keys[r]``.
    """
    steps = np.arange(1, items + 1, dtype=np.uint64) * _GOLDEN
    out = np.empty((len(keys), items))
    rows_at_once = max(1, _CELLS_AT_ONCE // max(1, items))
    for start in range(0, len(keys), rows_at_once):
        block = slice(start, start + rows_at_once)
        bits = _mix(keys[block, None] + steps)
        bits >>= np.uint64(32)
        np.add(bits, 0.5, out=out[block])
        out[block] *= 2.0**-32
    return out
