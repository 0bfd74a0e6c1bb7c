"""The identity of trained weights."""

from __future__ import annotations

import hashlib

from torch import Tensor

_FORMAT = "raw2rank-sequential-recommender-2"


def weights_digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values."""
    digest = hashlib.sha256(_FORMAT.encode())
    for name in sorted(weights):
        values = weights[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(values.data)
    return digest.hexdigest()


def contiguous(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """In the order of their names, in the processor's memory, as safetensors wants them."""
    return {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}
