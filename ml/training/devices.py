"""Devices: choice of the device, its memory, and mixed precision."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import AbstractContextManager

import torch


def choose_device(name: str) -> torch.device:
    """The device of that name; of several GPUs the one of this process under torchrun (``LOCAL_RANK``), else the first.

    Args:
        name: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        ValueError: CUDA is asked for and there is none.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, and torch finds no GPU: use device cpu or auto")
    # cuBLAS repeats itself bit for bit only with a fixed workspace, which it takes when it is first used
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    place = int(os.environ.get("LOCAL_RANK", "0"))
    if place >= torch.cuda.device_count():
        raise ValueError(
            f"process {place} of this host has no GPU, there are {torch.cuda.device_count()}: "
            "give torchrun as many processes as there are GPUs (--nproc-per-node)"
        )
    device = torch.device("cuda", place)
    torch.cuda.set_device(device)
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Matrix products within it in bfloat16 where that is the precision; weights and sums stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def start_measuring_memory(device: torch.device) -> None:
    """Forget earlier peaks of a GPU's memory; those of the process cannot be forgotten."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_in_bytes(device: torch.device) -> dict[str, int]:
    """Peak resident memory of the process since its start, and on a GPU of torch's memory there."""
    # kilobytes on Linux, bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        peaks["gpu"] = torch.cuda.max_memory_allocated(device)
    return peaks


def name_of(device: torch.device) -> str:
    """``cpu``, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
