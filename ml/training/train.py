"""Training one recipe into a folder: what an orchestrator, a notebook and a shell call."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ml.codes.codes import Codes
from ml.data.files import atomic_folder
from ml.data.training_set import TrainingSet
from ml.training.recipe import Recipe
from ml.training.sequential_recommender import DEFAULT_THREADS, SequentialRecommender, weights_digest


@dataclass(frozen=True)
class TrainingResult:
    """What came out of a training run.

    Attributes:
        folder: where the recommender was saved; ``SequentialRecommender.load`` reads it.
        best_validation_ndcg_at_10: of the weights that were kept; ``None`` without validation users.
        best_epoch: whose weights were kept, from 1.
        epochs: that were run.
        steps: optimiser steps that were run.
        parameters: trained numbers.
        seconds: of training and validation.
        sequences_per_second: median over the epochs, validation not counted.
        size_in_bytes: of ``model.safetensors``.
        weights_digest: SHA-256 of the weights; equal for equal recipe, training set, codes, seed and threads.
    """

    folder: Path
    best_validation_ndcg_at_10: float | None
    best_epoch: int
    epochs: int
    steps: int
    parameters: int
    seconds: float
    sequences_per_second: float
    size_in_bytes: int
    weights_digest: str


def train(
    recipe: Recipe,
    training_set: TrainingSet,
    folder: Path,
    seed: int = 0,
    codes: Codes | None = None,
    progress: bool = True,
    *,
    threads: int = DEFAULT_THREADS,
    validate_with_seen_excluded: bool = False,
) -> TrainingResult:
    """Train a recipe and save the best weights into ``folder``, whole or not at all.

    Beside what ``SequentialRecommender.save`` writes, ``training_run.json`` says how the run went and on what
    machine; like the log, it holds times and is not part of the model.

    Args:
        recipe: what to train.
        training_set: histories to learn from, validation users to stop by.
        folder: replaced as a whole; left as it was if training fails.
        seed: of everything random.
        codes: for recipes that name a code assignment.
        progress: show a progress bar.
        threads: torch threads, see :class:`SequentialRecommender`.
        validate_with_seen_excluded: rank validation users without the items of their histories.

    Raises:
        ValueError: the recipe does not fit the codes or the training set.
        DivergedError: the loss is no finite number any more.
    """
    recommender = SequentialRecommender(
        recipe,
        seed,
        codes,
        threads=threads,
        validate_with_seen_excluded=validate_with_seen_excluded,
        progress=progress,
    ).fit(training_set)
    with atomic_folder(folder) as working:
        recommender.save(working)
        result = _result(recommender, folder, (working / "model.safetensors").stat().st_size)
        run = {"result": asdict(result) | {"folder": folder.name}, "machine": _machine()}
        (working / "training_run.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    return result


def _result(recommender: SequentialRecommender, folder: Path, size_in_bytes: int) -> TrainingResult:
    log = recommender.log
    speeds = sorted(record.sequences_per_second for record in log)
    return TrainingResult(
        folder=folder,
        best_validation_ndcg_at_10=recommender.best_validation_ndcg_at_10,
        best_epoch=recommender.best_epoch,
        epochs=len(log),
        steps=log[-1].step,
        parameters=sum(parameter.numel() for parameter in recommender.model.parameters()),
        seconds=log[-1].seconds,
        sequences_per_second=speeds[len(speeds) // 2],
        size_in_bytes=size_in_bytes,
        weights_digest=weights_digest(recommender.model.state_dict()),
    )


def _machine() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
