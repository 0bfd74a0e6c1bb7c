"""Checkpoints of sharded weights: each process writes its part, and any number of processes reads them.

``torch.distributed.checkpoint`` plans who writes and reads what. Its own file format keeps the plan in a pickle
(``.metadata``), which to read is to run what it says; its storage in safetensors keeps it in the headers of the files,
as JSON, so that is the one used here.

A checkpoint is a folder of such files, and a file beside it that names the folder and holds everything that is no
tensor. The folder is written first; by the file, which is replaced in one system call, it becomes the checkpoint.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ml.data.files import atomic_file
from ml.training.distributed import World
from ml.training.sharded_tensors import is_part

FORMAT = "raw2rank-checkpoint-in-parts-1"


def parts_of(path: Path) -> Path:
    """The file that names the folder, beside the checkpoint in one file."""
    return path.with_suffix(".json")


def write_parts(path: Path, binding: str, description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Put a checkpoint in place of the last one, whole or not at all; all processes call it.

    Args:
        path: of the file that names the folder.
        binding: of the run; :func:`read_parts` reads no checkpoint of another one.
        description: all that is no tensor, as JSON values.
        tensors: by name; of a distributed tensor each process writes its part, of another one process writes it.
    """
    from torch.distributed import checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException

    world = World.current()
    number = _number(path) + 1
    folder = _folder(path, number)
    world.wait()  # for all to have read the number, and for what a killed run has left there to be cleared
    if world.is_first:
        shutil.rmtree(folder, ignore_errors=True)
    world.wait()
    writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        dcp.save({name: _in_a_row(tensor) for name, tensor in tensors.items()}, storage_writer=writer)
    except CheckpointException as error:
        # of all processes; the first says as much as a full disk would say to one
        failure, _ = next(iter(error.failures.values()))
        raise failure from error
    if world.is_first:
        known = {"format": FORMAT, "binding": binding, "number": number, **description}
        with atomic_file(path) as file:
            file.write_text(json.dumps(known), encoding="utf-8")
        for other in path.parent.glob(f"{path.stem}.parts-*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
    world.wait()  # for the number to be the new one in all


def described_parts(path: Path, binding: str) -> dict[str, Any] | None:
    """The description of :func:`write_parts`; ``None`` where there is no checkpoint of this run."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    fits = isinstance(known, dict) and known.get("format") == FORMAT and known.get("binding") == binding
    return known if fits else None


def read_parts(path: Path, like: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors of :func:`write_parts`; ``None`` where they are damaged.

    Args:
        path: of the file that names the folder.
        like: distributed tensors by name, of which this process's part is read; what is not among them is read whole.
    """
    from safetensors import SafetensorError
    from torch.distributed import checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException

    reader = dcp.HuggingFaceStorageReader(str(_folder(path, _number(path))))
    try:
        # of tensors alone, which is all that safetensors hold
        stored_tensors: dict[str, Any] = reader.read_metadata().state_dict_metadata
        found: dict[str, Tensor] = {
            name: torch.empty_like(like[name])
            if name in like
            else torch.empty(stored.size, dtype=stored.properties.dtype)
            for name, stored in stored_tensors.items()
        }
        with warnings.catch_warnings():
            # each process reads what it needs, and asks no other; which is said to be no distributed reading
            warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
            dcp.load(found, storage_reader=reader, no_dist=True)
    except (OSError, SafetensorError, CheckpointException, ValueError, KeyError):
        return None
    return found


def remove_parts(path: Path) -> None:
    """Remove the checkpoint; where it is not removed whole, it is none."""
    path.unlink(missing_ok=True)
    for folder in path.parent.glob(f"{path.stem}.parts-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _folder(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.parts-{number}")


def _number(path: Path) -> int:
    """Of the last checkpoint that was put in place, of whatever run; 0 before the first."""
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["number"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0


def _in_a_row(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor if is_part(tensor) else tensor.contiguous()
