"""Checkpoints of an alignment: killed at any step and started again, it ends with the policy it would have had."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ml.alignment.learner import Learner
from ml.alignment.log import AlignmentRecord
from ml.training.checkpoint import (
    optimiser_tensors,
    read_checkpoint,
    restore_optimiser,
    tensors_under,
    write_checkpoint,
)


@dataclass
class AlignmentState:
    """State of the loop, apart from the networks and their optimisers.

    Attributes:
        step: batches learned from.
        seconds: of training and validation so far, in all runs.
        learning_seconds: of the steps since the last record.
        lists: sampled since then.
        sums: of the values of the steps since then, by name.
        counts: of these values.
        best: validated reward of the best weights.
        best_step: theirs.
        best_weights: a state dict, empty while there are none.
        log: so far.
    """

    step: int = 0
    seconds: float = 0.0
    learning_seconds: float = 0.0
    lists: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    best: float | None = None
    best_step: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    log: list[AlignmentRecord] = field(default_factory=list)

    def add(self, values: dict[str, float]) -> None:
        """The values of one step."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def mean(self, name: str) -> float | None:
        """Of a value since the last record; ``None`` where there was none."""
        return self.sums[name] / self.counts[name] if name in self.sums else None

    def as_json(self) -> dict[str, Any]:
        """All but the weights."""
        numbers = {name: value for name, value in vars(self).items() if name not in ("best_weights", "log")}
        return numbers | {"log": [asdict(record) for record in self.log]}


@dataclass
class AlignmentCheckpoint:
    """The checkpoint of the policy of one weight: one safetensors file.

    Attributes:
        path: of the file.
        binding: of the run; a checkpoint of another run is not read.
        every_seconds: at least so long between two of them; 0 for one after each step.
    """

    path: Path
    binding: str
    every_seconds: float
    _last: float = field(default_factory=time.perf_counter)

    def due(self) -> bool:
        return time.perf_counter() - self._last >= self.every_seconds

    def save(self, state: AlignmentState, learner: Learner) -> None:
        """Put a checkpoint in place of the last one, whole or not at all."""
        tensors = {f"policy/{name}": tensor for name, tensor in learner.policy.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in state.best_weights.items()}
        tensors |= optimiser_tensors(learner.policy_optimiser, "policy_optimiser/")
        if learner.values is not None and learner.value_optimiser is not None:
            tensors |= {f"values/{name}": tensor for name, tensor in learner.values.state_dict().items()}
            tensors |= optimiser_tensors(learner.value_optimiser, "value_optimiser/")
        write_checkpoint(self.path, self.binding, {"state": state.as_json()}, tensors)
        self._last = time.perf_counter()

    def restore(self, learner: Learner) -> AlignmentState | None:
        """Set the learner to where the checkpoint was taken; ``None`` where there is none of this run, or a damaged
        one."""
        read = read_checkpoint(self.path, self.binding)
        if read is None:
            return None
        description, tensors = read
        learner.policy.load_state_dict(tensors_under(tensors, "policy/"))
        restore_optimiser(learner.policy_optimiser, tensors, "policy_optimiser/")
        if learner.values is not None and learner.value_optimiser is not None:
            learner.values.load_state_dict(tensors_under(tensors, "values/"))
            restore_optimiser(learner.value_optimiser, tensors, "value_optimiser/")
        kept = description["state"]
        best = tensors_under(tensors, "best/")
        return AlignmentState(
            **kept
            | {
                "best_weights": {name: tensor.to(learner.policy.device) for name, tensor in best.items()},
                "log": [AlignmentRecord(**record) for record in kept["log"]],
            }
        )
