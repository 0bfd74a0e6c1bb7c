"""Pre-training of a model that reads text on several datasets (Hou et al., UniSRec, KDD 2022).

All texts, those of the dataset that the model is finetuned on included, are encoded in one space, which is fitted on
them. Of that dataset nothing but the texts is read, and of the others the texts and the training histories.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.data.versions import versioned_folder
from ml.models.build import build_model
from ml.models.sequential_model import SequentialModel
from ml.models.settings import UniSRecSettings
from ml.tasks.build import build_task
from ml.tasks.settings import NextItemSettings
from ml.text.shared_space import TextSpace
from ml.training.checkpoint import Checkpoint, checkpoint_folder, remove_checkpoints, run_fingerprint
from ml.training.contrasted import ContrastedSequences
from ml.training.derived import batch_size_for, derive
from ml.training.devices import choose_device, name_of
from ml.training.log import FILE as LOG_FILE
from ml.training.log import EpochRecord, write_log
from ml.training.loop import Phase, train_model
from ml.training.pretrained import Pretrained
from ml.training.recipe import Recipe, TrainingSettings
from ml.training.reproducible import generator_for, reproducible
from ml.training.runtime import Execution
from ml.training.trainable import ScoredSequences
from ml.transfer.contrasts import DroppedItems, InBatchItems
from ml.transfer.sources import described, mixed


def pretrain(
    recipe: Recipe,
    sources: Sequence[TrainingSet],
    texts: Sequence[str],
    seed: int = 0,
    execution: Execution | None = None,
) -> tuple[Pretrained, list[EpochRecord]]:
    """Train the model of a recipe on other datasets.

    There is no validation: training takes the epochs of the recipe. The order of the sources does not matter.

    Args:
        recipe: with a table ``pretraining``.
        sources: the other datasets, with item text.
        texts: of the items of the dataset that the model is finetuned on.
        seed: of initial weights, shuffling, dropped items and dropout.
        execution: threads, device, precision, checkpoints, progress.

    Returns:
        The weights with the space of the text; and the log, which holds times.

    Raises:
        ValueError: the recipe is not pre-trained, there are no sources, or they have no histories or texts.
        DivergedError: the loss is no finite number any more.
    """
    execution = Execution() if execution is None else execution
    settings = recipe.pretraining
    if settings is None:
        raise ValueError(f"recipe {recipe.name} has no table [pretraining]")
    if not sources:
        raise ValueError(no_sources(recipe.name))
    sources = sorted(sources, key=lambda source: source.dataset)
    known = [described(source) for source in sources]
    space = TextSpace.fit([*texts, *(text for source in sources for text in source.item_text or ())])
    together = mixed(sources, space)
    if not (together.histories.lengths >= _LEAST_ITEMS).any():
        names = ", ".join(source.dataset for source in sources)
        raise ValueError(
            f"recipe {recipe.name}: no training history of {names} has {_LEAST_ITEMS} items with a text that says "
            "something, so there is nothing to learn from; name other datasets in PRETRAIN_ON"
        )
    closed, _ = derive(recipe, together.histories.lengths, _LEAST_ITEMS, validated=False)
    assert isinstance(closed.model, UniSRecSettings)  # the recipe was checked
    model_settings = replace(closed.model, item_embedding="text_experts")
    device = choose_device(execution.device)
    log: list[EpochRecord] = []
    with reproducible(execution.threads, device):
        generator_for(seed, 0)
        model = build_model(model_settings, len(together.text), 0, None, text=together.text).to(device)
        assert isinstance(model, SequentialModel)
        if settings.epochs:
            task = build_task(NextItemSettings(), len(together.text))
            trainable = ContrastedSequences(
                ScoredSequences(model, task, InBatchItems()),
                DroppedItems(settings.item_drop, model_settings.temperature, task),
                settings.sequence_weight,
            )
            binding = run_fingerprint(
                ("text", "contrast", "transfer"),
                recipe=recipe.pretraining_digest(),
                sources=known,
                space=space.digest(),
                seed=seed,
                threads=execution.threads,
                device=device.type,
                precision=execution.precision,
            )
            read = np.minimum(together.histories.lengths, model.max_length)
            limits = TrainingSettings(settings.batch_size, settings.epochs, settings.epochs, batch_items=_BATCH_ITEMS)
            batch_size, _ = batch_size_for(limits, read)
            checkpoint = None
            if execution.checkpoints is not None:
                path = execution.checkpoints / "pretraining.safetensors"
                checkpoint = Checkpoint(path, binding, execution.checkpoint_seconds)
            log = train_model(
                trainable,
                together.histories,
                None,
                replace(recipe.optimiser, learning_rate=settings.learning_rate),
                TrainingSettings(batch_size, settings.epochs, settings.epochs),
                Phase(seed, FIT_ON_TRAIN, f"{recipe.title}: pre-training", checkpoint=checkpoint),
                execution,
            ).log
    weights = {name: weight.detach().cpu() for name, weight in model.named_parameters()}
    description = {
        "recipe": recipe.name,
        "seed": seed,
        "threads": execution.threads,
        "sources": known,
        "sequences": int((together.histories.lengths >= _LEAST_ITEMS).sum()),
        "items": len(together.text),
        "text_dimensions": together.text.shape[1],
        "max_length": model.max_length,
        "epochs": settings.epochs,
        "steps": log[-1].step if log else 0,
        "loss": log[-1].loss if log else None,
    }
    return Pretrained(weights, space, recipe.pretraining_digest(), description), log


def pretrain_into(
    folder: Path,
    recipe: Recipe,
    sources: Sequence[TrainingSet],
    texts: Sequence[str],
    seed: int = 0,
    execution: Execution | None = None,
) -> Pretrained:
    """:func:`pretrain` into a folder, whole or not at all; with the log and the machine, which are no part of the
    result. Killed and called again with the same arguments, it goes on from its last checkpoint.

    Raises:
        ValueError: as :func:`pretrain`.
        DivergedError: likewise.
    """
    execution = replace(Execution() if execution is None else execution, checkpoints=checkpoint_folder(folder))
    pretrained, log = pretrain(recipe, sources, texts, seed, execution)
    with versioned_folder(folder) as working:
        pretrained.save(working)
        write_log(log, working / LOG_FILE)
        machine = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "device": name_of(choose_device(execution.device)),
            "seconds": log[-1].seconds if log else 0.0,
        }
        (working / "pretraining_run.json").write_text(json.dumps(machine, indent=2) + "\n", encoding="utf-8")
    remove_checkpoints(checkpoint_folder(folder))
    return pretrained


def no_sources(recipe: str) -> str:
    """Why a recipe cannot be made where no other datasets are named."""
    return (
        f"recipe {recipe} is pre-trained on other datasets, and none is named: name some that were run before, as in "
        "PRETRAIN_ON=Beauty,Toys"
    )


# a history and the item that follows it
_LEAST_ITEMS = 2
# of a batch on average, at most: each is scored against all others
_BATCH_ITEMS = 8192
