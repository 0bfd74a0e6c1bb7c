"""Training one recipe into a folder: what an orchestrator, a notebook and a shell call."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ml.codes.codes import Codes
from ml.data.teacher_lists import TeacherLists
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.data.versions import versioned_folder
from ml.models.generating_model import GeneratingModel
from ml.models.sequential_model import SequentialModel
from ml.training.checkpoint import checkpoint_folder, remove_checkpoints
from ml.training.derived import described
from ml.training.devices import choose_device, name_of, peak_memory_in_bytes, start_measuring_memory
from ml.training.distributed import World
from ml.training.log import EpochRecord, write_board
from ml.training.loop import DivergedError
from ml.training.pretrained import Pretrained
from ml.training.recipe import Recipe
from ml.training.runtime import DEFAULT_THREADS, NONE, Execution
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.warm_start import AnyStart
from ml.training.weights_digest import weights_digest


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training run.

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
    teacher_lists: TeacherLists | None = None,
    pretrained: Pretrained | None = None,
    start: AnyStart | None = None,
    threads: int = DEFAULT_THREADS,
    fit_on: str = FIT_ON_TRAIN,
    validate_with_seen_excluded: bool = False,
    device: str = "cpu",
    precision: str = "float32",
    sharding: str = NONE,
    compile: bool = False,
    checkpoint_seconds: float | None = 60.0,
    tensorboard: bool = False,
    log_to: Path | None = None,
    tell: Callable[[EpochRecord], None] | None = None,
) -> TrainingResult:
    """Train a recipe and save the best weights into ``folder``, whole or not at all.

    Beside what ``SequentialRecommender.save`` writes, ``training_run.json`` says how the run went and on what
    machine; like the log, it holds times and is not part of the model.

    Killed at any moment and called again with the same arguments, it goes on from its last checkpoint, and ends with
    the same weights bit for bit on a processor. Checkpoints lie in a hidden folder beside ``folder`` until the result
    is in place. Those of other arguments, data or code are passed over and replaced.

    In processes that ``torch.distributed`` has joined, all call it with the same arguments; the first one writes.

    Args:
        recipe: what to train.
        training_set: histories to learn from, validation users to stop by.
        folder: replaced as a whole; left as it was if training fails.
        seed: of everything random.
        codes: for recipes that name a code assignment.
        progress: show a progress bar.
        teacher_lists: for recipes that name some.
        pretrained: for recipes that are pre-trained on other datasets.
        start: the earlier model whose weights training starts from, or why there is none; ``None`` where no warm start
            was asked for. ``training_run.json`` and the log say what it started from.
        threads, device, precision, sharding, compile, log_to, tell: see :class:`ml.training.runtime.Execution`.
        fit_on: what the final weights are trained on, ``train`` or ``train+validation``.
        validate_with_seen_excluded: rank validation users without the items of their histories.
        checkpoint_seconds: at least so long between two checkpoints, 0 for one after each step; ``None`` keeps none.
        tensorboard: write the log as TensorBoard event files too, under ``tensorboard/``, where that package is
            installed; they hold times.

    Raises:
        ValueError: the recipe does not fit the codes, the teacher lists or the training set, or the device is not
            there.
        DivergedError: the loss is no finite number any more.
    """
    chosen, world = choose_device(device), World.current()
    checkpoints = checkpoint_folder(folder)
    execution = Execution(
        threads=threads,
        device=device,
        precision=precision,
        sharding=sharding,
        compile=compile,
        progress=progress,
        checkpoints=None if checkpoint_seconds is None else checkpoints,
        checkpoint_seconds=checkpoint_seconds or 0.0,
        log_to=log_to,
        tell=tell,
    )
    recommender = SequentialRecommender(
        recipe,
        seed,
        codes,
        execution=execution,
        fit_on=fit_on,
        validate_with_seen_excluded=validate_with_seen_excluded,
        teacher_lists=teacher_lists,
        pretrained=pretrained,
        start=start,
    )
    start_measuring_memory(chosen)
    try:
        recommender.fit(training_set)
    except DivergedError:
        # it would diverge again
        remove_checkpoints(checkpoints)
        raise
    if world.is_first:
        with versioned_folder(folder) as working:
            recommender.save(working)
            if tensorboard:
                write_board(recommender.log, working / "tensorboard")
            result = _result(recommender, folder, working / "model.safetensors")
            run = {
                "result": asdict(result) | {"folder": folder.name},
                "model": {"share_of_padding": recommender.share_of_padding} | _sizes(recommender.model),
                "derived": described(recommender.derived),
                "machine": _machine(execution, chosen, world),
                "peak_memory_in_bytes": peak_memory_in_bytes(chosen),
            }
            if recommender.started_from is not None:
                run["started_from"] = recommender.started_from.as_json()
                if progress:
                    print(f"{recipe.title} {recommender.started_from}", file=sys.stderr, flush=True)
            (working / "training_run.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
        remove_checkpoints(checkpoints)
    world.wait()
    return _result(recommender, folder, folder / "model.safetensors")


def _result(recommender: SequentialRecommender, folder: Path, weights: Path) -> TrainingResult:
    log = recommender.log
    speeds = sorted(record.sequences_per_second for record in log)
    return TrainingResult(
        folder=folder,
        best_validation_ndcg_at_10=recommender.best_validation_ndcg_at_10,
        best_epoch=recommender.best_epoch,
        epochs=len(log),
        steps=sum({record.fit_on: record.step for record in log}.values()),
        parameters=sum(parameter.numel() for parameter in recommender.model.parameters()),
        seconds=sum({record.fit_on: record.seconds for record in log}.values()),
        sequences_per_second=speeds[len(speeds) // 2],
        size_in_bytes=weights.stat().st_size,
        weights_digest=weights_digest(recommender.model.state_dict()),
    )


def _sizes(model: SequentialModel | GeneratingModel) -> dict[str, int]:
    """Bytes of all weights, and of the embeddings that items are scored with, where there are such."""
    sizes = {"bytes": sum(tensor.nbytes for tensor in model.state_dict().values())}
    if isinstance(model, GeneratingModel):
        return sizes
    embedding = model.output_embedding.state_dict().values()
    return {
        "output_embedding_bytes": sum(tensor.nbytes for tensor in embedding),
        "dense_output_embedding_bytes": 4 * model.items * model.output_embedding.dimensions,
        **sizes,
    }


def _machine(execution: Execution, device: torch.device, world: World) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": name_of(device),
        "precision": execution.precision,
        "sharding": execution.sharding,
        "compiled": execution.compile,
        "threads": execution.threads,
        "processes": world.size,
    }
