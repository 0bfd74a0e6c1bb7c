"""Tensors of which each process holds a part (``DTensor``), without importing what they need."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def is_part(tensor: Tensor) -> bool:
    """Whether this process holds a part of a tensor."""
    return hasattr(tensor, "full_tensor")


def is_sharded(model: nn.Module) -> bool:
    """Whether this process holds parts of the model's weights."""
    return any(is_part(parameter) for parameter in model.parameters())


def whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with all their parts, in every process; all call it."""
    return {name: _whole(tensor) for name, tensor in tensors.items()}


def _whole(tensor: Any) -> Tensor:
    return tensor.full_tensor() if is_part(tensor) else tensor


def part_like(cut: Any, tensor: Tensor) -> Tensor:
    """The part of a whole tensor that this process holds of one that is cut; the tensor where ``cut`` is ``None``."""
    if cut is None:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    # all have the same, so that none need be sent
    return distribute_tensor(tensor.to(cut.device), cut.device_mesh, cut.placements, src_data_rank=None)
