"""Checkpoints: killed at any step and started again, training ends with the weights it would have had.

A checkpoint holds all that a step changes: weights, optimiser, moving average, the best weights so far, the place in
the epoch and the log. Random numbers need none: each step draws from its own seed
(:mod:`ml.training.reproducible`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ml.data.files import atomic_file
from ml.training.checkpoint_parts import described_parts, parts_of, read_parts, remove_parts, write_parts
from ml.training.distributed import World
from ml.training.log import EpochRecord
from ml.training.moving_average import WeightAverage
from ml.training.sharded_tensors import is_part, is_sharded, part_like
from ml.training.touched_rows import can_take_over

FORMAT = "raw2rank-checkpoint-2"
_CODE = ("data", "models", "objectives", "tasks", "training")


@dataclass
class TrainingState:
    """State of the loop, apart from the tensors of model, optimiser and average.

    Attributes:
        epoch: under way, from 1.
        batch: the next one of it, from 0.
        step: optimiser steps taken.
        loss_sum: of the losses of the epoch's batches so far, each times its predictions.
        predictions: made in the epoch so far.
        seconds: of training and validation so far, in all runs.
        epoch_seconds: of the epoch's steps so far.
        items: real input items so far, in all epochs.
        places: for input items, padding counted, so far.
        best: validation nDCG@10 of the best weights.
        best_epoch: their epoch, 0 while there are none.
        best_weights: a state dict, empty while there are none.
        log: of the epochs behind.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    predictions: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    items: int = 0
    places: int = 0
    best: float | None = None
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    log: list[EpochRecord] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All but the weights."""
        numbers = {name: value for name, value in vars(self).items() if name not in ("best_weights", "log")}
        return numbers | {"log": [record.as_json() for record in self.log]}


@dataclass
class Checkpoint:
    """The checkpoint of one phase of a training run: one safetensors file, or of a sharded model one from each process
    (:mod:`ml.training.checkpoint_parts`).

    Attributes:
        path: of the file.
        binding: :func:`run_fingerprint` the run; a checkpoint of another run is not read.
        every_seconds: at least so long between two of them; 0 for one after each step.
        at_end: also one when the phase has ended, for a run of several phases.
        writes: whether this process writes; all may read.
    """

    path: Path
    binding: str
    every_seconds: float
    at_end: bool = False
    writes: bool = True
    _last: float = field(default_factory=time.perf_counter)

    def due(self) -> bool:
        return self.writes and time.perf_counter() - self._last >= self.every_seconds

    def save(
        self, state: TrainingState, model: nn.Module, optimiser: torch.optim.Optimizer, average: WeightAverage
    ) -> None:
        """Put a checkpoint in place of the last one, whole or not at all; of a sharded model all processes call it."""
        tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
        tensors |= {f"average/{name}": tensor for name, tensor in average.averages.items()}
        tensors |= {f"best/{name}": tensor for name, tensor in state.best_weights.items()}
        tensors |= optimiser_tensors(optimiser, "optimiser/")
        description: dict[str, Any] = {"average_steps": average.steps, "state": state.as_json()}
        if is_sharded(model):
            # of what is no more than a number there are no parts
            numbers = {name: tensor.item() for name, tensor in tensors.items() if tensor.dim() == 0}
            parts = {name: tensor for name, tensor in tensors.items() if tensor.dim()}
            write_parts(parts_of(self.path), self.binding, description | {"numbers": numbers}, parts)
            if self.writes:
                self.path.unlink(missing_ok=True)
        else:
            write_checkpoint(self.path, self.binding, description, tensors)
            remove_parts(parts_of(self.path))
        self._last = time.perf_counter()

    def restore(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, average: WeightAverage
    ) -> TrainingState | None:
        """Set model, optimiser and average to where the checkpoint was taken; ``None`` where there is none of this
        run, or one that is damaged.

        It may have been taken by another number of processes, with sharded weights or whole ones. One of an optimiser
        that updates the rows that are read is none for one that updates all.
        """
        read = self._read(model, optimiser, average)
        if read is not None and not can_take_over(optimiser, read[1]):
            read = None
        world = World.current()
        if not world.all(read is not None) or read is None:
            return None
        description, tensors = read
        device = next(model.parameters()).device
        model.load_state_dict(tensors_under(tensors, "model/"))
        restore_optimiser(optimiser, tensors, "optimiser/")
        average.steps = description["average_steps"]
        averages = tensors_under(tensors, "average/")
        # in the order of the model, which is not that of the file
        average.averages = {name: averages[name].to(device) for name in average.averages}
        kept = description["state"]
        return TrainingState(
            **kept
            | {
                "best_weights": {name: tensor.to(device) for name, tensor in tensors_under(tensors, "best/").items()},
                "log": [EpochRecord(**record) for record in kept["log"]],
            }
        )

    def _read(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, average: WeightAverage
    ) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Description and tensors of the later one of the two that there may be, as the model is: parts or whole."""
        read = read_checkpoint(self.path, self.binding)
        like = _sharded_tensors(model, optimiser, average)
        in_parts = described_parts(parts_of(self.path), self.binding)
        if in_parts is not None and (read is None or in_parts["state"]["step"] >= read[0]["state"]["step"]):
            tensors = read_parts(parts_of(self.path), like)
            if tensors is not None:
                numbers = {name: torch.tensor(value) for name, value in in_parts["numbers"].items()}
                return in_parts, tensors | numbers
        if read is None:
            return None
        return read[0], {name: part_like(like.get(name), tensor) for name, tensor in read[1].items()}


def _sharded_tensors(model: nn.Module, optimiser: torch.optim.Optimizer, average: WeightAverage) -> dict[str, Tensor]:
    """Distributed tensors that are cut as those of a checkpoint of this run are to be, by their names there; none where
    the model is not sharded."""
    if not is_sharded(model):
        return {}
    weights = model.state_dict()
    found = {f"{prefix}/{name}": tensor for prefix in ("model", "best") for name, tensor in weights.items()}
    found |= {f"average/{name}": tensor for name, tensor in average.averages.items()}
    optimised = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for place, parameter in enumerate(optimised):
        found |= {f"optimiser/{place}/{name}": parameter.detach() for name in ("exp_avg", "exp_avg_sq")}
    return {name: tensor for name, tensor in found.items() if is_part(tensor)}


def write_checkpoint(path: Path, binding: str, description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Put a file of tensors in place of the last one, whole or not at all.

    Args:
        path: of the file.
        binding: of the run; :func:`read_checkpoint` reads no file of another one.
        description: all that is no tensor, as JSON values.
        tensors: by name.
    """
    from safetensors.torch import save_file

    known = {"format": FORMAT, "binding": binding, **description}
    with atomic_file(path) as file:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            file,
            {"checkpoint": json.dumps(known)},
        )


def read_checkpoint(path: Path, binding: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Description and tensors of :func:`write_checkpoint`; ``None`` where there is none of this run, or a damaged
    one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get("checkpoint", "{}"))
            if description.get("format") != FORMAT or description["binding"] != binding:
                return None
            return description, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError):
        return None


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The state of an optimiser, as ``prefix``, number of the parameter, ``/`` and name."""
    found: dict[str, Tensor] = {}
    for place, values in optimiser.state_dict()["state"].items():
        found |= {f"{prefix}{place}/{name}": tensor for name, tensor in values.items()}
    return found


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str) -> None:
    """Set an optimiser to what :func:`optimiser_tensors` returned."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors_under(tensors, prefix).items():
        place, key = name.split("/")
        moments.setdefault(int(place), {})[key] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})


def checkpoint_folder(folder: Path) -> Path:
    """Where the checkpoints are of a model that is trained into ``folder``: hidden, beside it, and not among what is
    cleared after a killed process."""
    return folder.parent / f".{folder.name}.checkpoint"


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a run that has ended."""
    shutil.rmtree(folder, ignore_errors=True)


def run_fingerprint(more_code: tuple[str, ...] = (), **decisive: Any) -> str:
    """SHA-256 of what decides the weights, JSON values; of the version of torch; and of the code that trains, since
    a run that starts with one version of it and ends with another is a run of neither.

    Args:
        more_code: folders of the library that hold it, besides those of training.
        decisive: what decides the weights.
    """
    digest = hashlib.sha256(f"{FORMAT} {torch.__version__}".encode())
    digest.update(json.dumps(decisive, sort_keys=True).encode())
    library = Path(__file__).parents[1]
    for path in sorted(path for part in _CODE + more_code for path in (library / part).glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def tensors_under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names start with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
